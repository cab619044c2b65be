"""Contract section 4: a board over both sockets, over server-sent events and over REST, and after a reload."""

import asyncio
from pathlib import Path

import httpx
import pytest

from app.api.meeting_wire import FRAMES
from tests.acceptance.test_portal_stream import events_of
from tests.support.service import Service
from tests.support.talks import (
    CONCLUSION,
    RULES_OF_BOARDS,
    SURFACES,
    Surface,
    Talk,
    about,
    data_of,
    kinds,
    rules_of_board,
    talk,
)

OF_BOARDS = {
    "board_started",
    "expert_speech_chunk",
    "expert_speech",
    "round_summary",
    "user_intervention",
    "board_concluded",
    "team_intervention_ack",
}
BOARD = ("Moderator", "Strategist", "Engineer", "Finance Expert", "Skeptic")
WORD = "Mind the cost."
SHORT = "@board:moderator,engineer,skeptic rounds=1 boats"


@pytest.fixture(scope="module")
def rules(gate: Path) -> list[dict[str, object]]:
    of_surfaces = [rule for surface in SURFACES for rule in rules_of_board(gate, about(surface))]
    return [*of_surfaces, *RULES_OF_BOARDS]


async def held(opened: Talk, gate: Path) -> str:
    """A board of five for three rounds to its end; somebody speaks up in the first, and cuts short in the second."""
    topic = about(opened.surface)
    await opened.say(f"@board rounds=3 {topic}")
    started = await opened.until("board_started")
    chunk = await opened.until("expert_speech_chunk", expert_name="Strategist")
    assert "I say: build ships, and many.".startswith(chunk["data"]["content"])
    await opened.say(WORD)
    assert (await opened.until("team_intervention_ack"))["data"]["content"] == WORD
    (gate / f"{topic}-speech").touch()
    await opened.until("user_intervention")
    await opened.until("expert_speech_chunk", expert_name="Engineer", round=2)
    await opened.line.send(type="interrupt")
    cut = await opened.until("expert_speech", expert_name="Engineer", round=2)
    assert cut["data"]["interrupted"]
    assert "There is so much more to say.".startswith(cut["data"]["content"])
    task_id = started["task_id"]
    await opened.until_answer(task_id)
    return task_id


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_board_of_five_for_three_rounds(
    service: Service, client: httpx.AsyncClient, gate: Path, surface: Surface
) -> None:
    """Every frame of a board, an intervention, an interruption, somebody who fails; then the reload."""
    async with talk(service, client, surface) as opened:
        task_id = await held(opened, gate)
    frames = opened.frames
    assert set(kinds(frames)) & FRAMES == OF_BOARDS
    (started,) = data_of(frames, "board_started")
    assert (started["team_id"], started["topic"], started["max_rounds"]) == (task_id, about(surface), 3)
    assert tuple(one["name"] for one in started["experts"]) == BOARD
    assert [one["is_moderator"] for one in started["experts"]] == [True, False, False, False, False]
    assert all(
        one["avatar"] and one["color"].startswith("#") and one["persona"] for one in started["experts"]
    )
    speeches = data_of(frames, "expert_speech")
    assert [one["expert_name"] for one in speeches] == [
        "Moderator",
        *BOARD[1:],
        *BOARD[1:],
        *BOARD[1:3],
        BOARD[4],
    ]
    assert [one["round"] for one in data_of(frames, "round_summary")] == [1, 2, 3]
    assert data_of(frames, "user_intervention") == [{"content": WORD, "round": 1}]
    (conclusion,) = data_of(frames, "board_concluded")
    assert conclusion["dissent_points"] == ["Too dear (Skeptic, Engineer)"]
    assert (conclusion["summary"], conclusion["total_rounds"]) == (CONCLUSION["summary"], 3)
    assert conclusion["stopped_by"] == "rounds"
    steps = [one["event_type"] for one in data_of(frames, "step")]
    assert {"turn.expert_silent", "turn.speaker_interrupted"} <= set(steps)
    assert "thinking" not in kinds(frames)
    assert kinds(frames).index("board_concluded") > kinds(frames).index("round_summary")
    (steered,) = [one for one in data_of(frames, "result") if one.get("status") == "steered"]
    assert steered["merged_into"] == task_id
    meeting = [frame for frame in frames if frame["type"] in FRAMES - {"team_intervention_ack"}]
    assert {frame["task_id"] for frame in meeting} == {task_id}
    offsets = [frame["offset"] for frame in meeting if "offset" in frame]
    assert offsets == sorted(offsets)
    await check_reload(client, opened, task_id)


async def check_reload(client: httpx.AsyncClient, opened: Talk, task_id: str) -> None:
    """Every card of the frames is there again."""
    frames = opened.frames
    shown = (await client.get(f"/portal/conversations/{opened.conversation_id}")).json()
    messages = shown["messages"]
    assert (shown["is_board"], shown["title"]) == (True, about(opened.surface))
    assert shown["message_count"] == len(messages)
    assert [one["content"] for one in messages if one["role"] == "user"] == [
        f"@board {about(opened.surface)}",
        WORD,
    ]
    (started,) = [one for one in messages if one.get("message_type") == "board_started"]
    assert started["board_started"] == data_of(frames, "board_started")[0]
    keys = ("expert_id", "expert_name", "expert_avatar", "expert_color", "content")
    for kind, told in (("board_speech", "expert_speech"), ("board_summary", "round_summary")):
        cards = [one for one in messages if one.get("message_type") == kind]
        assert [(one["content"], one["board_round"]) for one in cards] == [
            (one["content"], one["round"]) for one in data_of(frames, told)
        ]
    speeches = [one for one in messages if one.get("message_type") == "board_speech"]
    for card, told in zip(speeches, data_of(frames, "expert_speech"), strict=True):
        assert [card[key] for key in keys] == [told[key] for key in keys]
        assert card["board_role"] == told["role"]
    last = messages[-1]
    assert (last["message_type"], last["board_conclusion"]) == (
        "board_conclusion",
        data_of(frames, "board_concluded")[0],
    )
    assert CONCLUSION["decision_advice"] in last["content"]
    assert {"expert_silent", "user_intervention"} <= {step["name"] for step in last["metadata"]["steps"]}
    assert last["metadata"]["task_id"] == task_id


async def test_an_interrupt_where_nobody_speaks_is_one_sentence(
    service: Service, client: httpx.AsyncClient
) -> None:
    for surface in SURFACES:
        async with talk(service, client, surface) as opened:
            await opened.line.send(type="interrupt")
            assert (await opened.until("error"))["data"][
                "message"
            ] == "Nobody is speaking now in a board or team."


async def test_a_board_over_rest_waits_for_its_answer(client: httpx.AsyncClient) -> None:
    answer = (await client.post("/portal/chat", json={"message": SHORT})).json()
    assert answer["status"] == "completed"
    assert all(text in answer["message"] for text in ("Ships are wanted.", "Build one.", "Too dear"))
    listed = (await client.get("/portal/conversations")).json()
    (row,) = [one for one in listed if one["id"] == answer["conversation_id"]]
    assert (row["title"], row["is_board"]) == ("boats", True)


async def test_a_board_over_server_sent_events_and_its_rest_after_a_reconnect(service: Service) -> None:
    body = {"message": SHORT, "conversation_id": "streamed"}
    path = "/portal/chat/stream"
    async with asyncio.timeout(60), service.client() as client:
        async with client.stream("POST", path, json=body) as response:
            whole = [event async for event in events_of(response)]
        kept = [event for event in whole if event["id"] is not None]
        summary = next(at for at, event in enumerate(kept) if event["event"] == "round_summary")
        headers = {"Last-Event-ID": kept[summary]["id"]}
        async with client.stream("POST", path, json=body, headers=headers) as response:
            rest = [event async for event in events_of(response) if event["id"] is not None]
    names = [event["event"] for event in kept]
    assert names == [
        "routing",
        "board_started",
        "expert_speech",
        "expert_speech",
        "expert_speech",
        "round_summary",
        "board_concluded",
        "final_answer",
    ]
    assert kept[2]["data"]["data"]["expert_name"] == "Moderator"
    assert rest == kept[summary + 1 :]
