"""Contract section 4: a team over both sockets and over server-sent events, and after a reload."""

import asyncio
from pathlib import Path

import httpx
import pytest

from app.api.meeting_wire import FRAMES
from tests.acceptance.test_portal_stream import events_of
from tests.support.chat import chat, of_type, opened
from tests.support.service import Service
from tests.support.talks import (
    RULES_OF_TEAMS,
    SURFACES,
    Surface,
    Talk,
    about,
    data_of,
    kinds,
    rules_of_team,
    talk,
)

OF_BOARDS = {"board_started", "expert_speech_chunk", "expert_speech", "round_summary", "board_concluded"}
OF_TEAMS = FRAMES - OF_BOARDS - {"user_intervention"}
TEAM = ["Product Manager", "Researcher", "Engineer", "Writer"]
WORD = "Mind the cost."


@pytest.fixture(scope="module")
def rules(gate: Path) -> list[dict[str, object]]:
    of_surfaces = [rule for surface in SURFACES for rule in rules_of_team(gate, about(surface))]
    return [*of_surfaces, *RULES_OF_TEAMS]


async def worked(line: Talk, gate: Path) -> str:
    """A team of four with two phases at once, of which one fails twice; somebody speaks up meanwhile."""
    task = about(line.surface)
    await line.say(f"@team {task}")
    formed = await line.until("team_formed")
    chunk = await line.until("expert_result_chunk", expert_name="Researcher")
    assert "Let me count the ships.".startswith(chunk["data"]["content"])
    await line.say(WORD)
    assert (await line.until("team_intervention_ack"))["data"]["content"] == WORD
    await line.until("collaboration_notice", content=WORD)
    (gate / f"{task}-work").touch()
    await line.until("expert_result_chunk_reset", expert_name="Researcher")
    synthesis = await line.until("team_synthesis_chunk")
    assert "There are two ships.".startswith(synthesis["data"]["content"])
    (gate / f"{task}-synthesis").touch()
    await line.until_answer(formed["task_id"])
    return formed["task_id"]


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_team_of_four_with_two_phases_at_once(
    service: Service, client: httpx.AsyncClient, gate: Path, surface: Surface
) -> None:
    """Every frame of a team, those of its members' runs among them; then the reload."""
    async with talk(service, client, surface) as line:
        task_id = await worked(line, gate)
    frames = line.frames
    assert set(kinds(frames)) & FRAMES == OF_TEAMS
    (formed,) = data_of(frames, "team_formed")
    assert (formed["team_id"], formed["lead_expert"]) == (task_id, "Product Manager")
    assert [one["name"] for one in formed["experts"]] == TEAM
    plan = data_of(frames, "plan_update")[0]["plan_phases"]
    assert [(one["name"], one["owner_name"]) for one in plan] == [
        ("Research", "Researcher"),
        ("Design", "Engineer"),
        ("Write", "Writer"),
    ]
    steps = data_of(frames, "plan_step")
    assert [(one["phase_id"], one["status"]) for one in steps[:2]] == [("p1", "running"), ("p2", "running")]
    assert steps[-1]["status"] == "completed"
    assert [one["phase_id"] for one in data_of(frames, "phase_failed")][:1] == ["p2"]
    assert [one["action"] for one in data_of(frames, "replanning")][:2] == ["retry", "reassign"]
    (contract,) = data_of(frames, "collaboration_contract_defined")
    assert (contract["provider_name"], contract["consumer_name"]) == ("Researcher", "Writer")
    results = data_of(frames, "expert_result")
    assert {one["expert_name"] for one in results} >= {"Researcher", "Writer"}
    assert all(one["content"] == "Two ships." and one["expert_color"] for one in results)
    members = [one for one in data_of(frames, "expert_step") if one["expert_name"] == "Researcher"]
    assert [one["kind"] for one in members[:3]] == ["thinking", "tool_call", "tool_result"]
    assert members[0]["content"] == "Let me count the ships."
    meeting = [frame for frame in frames if frame["type"] in FRAMES - {"team_intervention_ack"}]
    assert {frame["task_id"] for frame in meeting} == {task_id}
    assert [kind for kind in kinds(frames) if kind in FRAMES][-2:] == ["team_synthesis", "team_dissolved"]
    (steered,) = [one for one in data_of(frames, "result") if one.get("status") == "steered"]
    assert steered["merged_into"] == task_id
    await check_reload(client, line, task_id)


async def check_reload(client: httpx.AsyncClient, line: Talk, task_id: str) -> None:
    """Every card of the frames is there again, and no child run is a message of its own."""
    frames = line.frames
    shown = (await client.get(f"/portal/conversations/{line.conversation_id}")).json()
    assert (shown["is_board"], shown["message_count"]) == (False, 3)
    asked, said, answer = shown["messages"]
    assert (asked["role"], said["content"], answer["content"]) == ("user", WORD, "There are two ships.")
    found = answer["metadata"]
    live = {"plan_step", "expert_step", "expert_result", "team_intervention_ack"}
    told = [
        (frame["type"], frame["data"])
        for frame in frames
        if frame["type"] in FRAMES - live and not frame["type"].endswith(("_chunk", "_reset"))
    ]
    cards = [(step["name"], step["data"]) for step in found["steps"] if step["name"] in FRAMES]
    assert cards == told
    runs = found["expert_runs"]
    done = [(one["expert_name"], one["content"]) for one in runs if one["content"]]
    assert sorted(done) == sorted(
        (one["expert_name"], one["content"]) for one in data_of(frames, "expert_result")
    )
    researcher = next(one for one in runs if one["expert_name"] == "Researcher")
    assert researcher["tool_calls"][0]["name"] == "calculator"
    assert found["task_id"] == task_id


async def test_a_team_over_server_sent_events_and_its_rest_after_a_reconnect_at_a_members_event(
    service: Service,
) -> None:
    """Guard: an event of a child run is one of the team's turn, also as `Last-Event-ID`."""
    body = {"message": "@team:researcher,writer boats", "conversation_id": "streamed"}
    path = "/portal/chat/stream"
    async with asyncio.timeout(60), service.client() as client:
        async with client.stream("POST", path, json=body) as response:
            whole = [event async for event in events_of(response)]
        kept = [event for event in whole if event["id"] is not None]
        result = next(at for at, event in enumerate(kept) if event["event"] == "expert_result")
        headers = {"Last-Event-ID": kept[result]["id"]}
        async with client.stream("POST", path, json=body, headers=headers) as response:
            rest = [event async for event in events_of(response) if event["id"] is not None]
    names = [event["event"] for event in kept]
    assert names[:2] == ["routing", "team_formed"]
    assert names[-2:] == ["team_dissolved", "final_answer"]
    assert rest == kept[result + 1 :]


async def test_a_session_that_is_opened_anew_is_told_exactly_what_it_missed_of_a_team(
    service: Service, client: httpx.AsyncClient
) -> None:
    session_id = await opened(client)
    async with chat(service, session_id) as line:
        await line.send(type="message", content="@team:researcher,writer boats")
        whole = await line.until(of_type("final_answer"))
    kept = [frame for frame in whole if "offset" in frame]
    for place, frame in enumerate(kept[:-1]):
        if frame["type"] in ("expert_result", "plan_step", "phase_started"):
            async with chat(service, session_id, query=f"after={frame['offset']}") as line:
                again = await line.until(of_type("final_answer"))
            assert [one for one in again if "offset" in one] == kept[place + 1 :]
