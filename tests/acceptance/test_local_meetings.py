"""A board of five for three rounds and a team of four with the real local model, over real sockets, to their end.

What is checked is how a meeting goes, never the quality of what a model of this size says. The two are held at once,
and answers are kept to 24 tokens: reading and writing is all that takes time here. On two idle cores the
model calls of the board took 24 s, those of the team 20 s; the limits are for a machine that is busy with other things.
"""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from app.core.texts import text
from tests.support.chat import chat, opened
from tests.support.portal import Frame, portal
from tests.support.service import Service, running_service
from tests.support.talks import data_of, kinds

pytestmark = pytest.mark.timeout(900)
FRAME_SECONDS = 300
BOARD = ("Moderator", "Strategist", "Engineer", "Finance Expert", "Skeptic")
TEAM = ("Product Manager", "Researcher", "Engineer", "Writer")
TOPIC = "Should our village buy a small electric bus?"
WORD = "Mind the cost for the village."
TASK = "Write a short guide for visitors of our village."


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        folder = tmp_path_factory.mktemp("meetings")
        limits = {"local_max_tokens": "24", "heartbeat_seconds": "0", "model_timeout_seconds": "600"}
        with running_service(folder, model="local", fetch="false", **limits) as running:
            yield running


async def board_of(service: Service) -> list[Frame]:
    """Everything that the portal is told of a board; a person speaks up while the first expert does."""
    async with portal(service, frame_seconds=FRAME_SECONDS) as line:
        said = {"type": "chat", "conversation_id": "bus"}
        await line.send(**said, message=f"@board rounds=3 {TOPIC}")
        await line.until(lambda frame: frame["type"] == "expert_speech_chunk" and frame["data"]["round"] == 1)
        await line.send(**said, message=WORD)
        await line.until(lambda frame: frame["type"] == "result" and "merged_into" not in frame["data"])
        return line.frames


async def team_of(service: Service) -> list[Frame]:
    """Everything that the socket of a session is told of a team."""
    async with service.client() as client:
        session_id = await opened(client)
    async with chat(service, session_id, frame_seconds=FRAME_SECONDS) as line:
        await line.send(type="message", content=f"@team {TASK}")
        await line.until(lambda frame: frame["type"] in ("final_answer", "error"))
        return line.frames


async def test_a_board_of_five_and_a_team_of_four_come_to_their_end(service: Service) -> None:
    board, team = await asyncio.gather(board_of(service), team_of(service))
    check_board(board)
    check_team(team)


def check_board(frames: list[Frame]) -> None:
    """Everyone spoke in every round and each was summed up; the conclusion is one that passed its check."""
    (started,) = data_of(frames, "board_started")
    assert (started["topic"], started["max_rounds"]) == (TOPIC, 3)
    speeches = data_of(frames, "expert_speech")
    opening, *others = [(one["round"], one["expert_name"]) for one in speeches]
    assert opening[1] == BOARD[0]
    assert others == [(number, name) for number in (1, 2, 3) for name in BOARD[1:]]
    assert all(one["content"].strip() and not one["interrupted"] for one in speeches)
    summaries = data_of(frames, "round_summary")
    assert [(one["round"], one["moderator_name"]) for one in summaries] == [(n, BOARD[0]) for n in (1, 2, 3)]
    assert data_of(frames, "user_intervention") == [{"content": WORD, "round": 1}]
    assert len({one["expert_name"] for one in data_of(frames, "expert_speech_chunk")}) == len(BOARD)
    (conclusion,) = data_of(frames, "board_concluded")
    check_conclusion(conclusion)
    (answer,) = [one["message"] for one in data_of(frames, "result") if "merged_into" not in one]
    assert conclusion["decision_advice"] in answer
    order = [kind for kind in kinds(frames) if kind in ("board_started", "round_summary", "board_concluded")]
    assert order == ["board_started", *["round_summary"] * 3, "board_concluded"]


def check_conclusion(conclusion: dict[str, Any]) -> None:
    """Guard: without a grammar the model writes no JSON, and the board says that there is no structured conclusion."""
    assert conclusion["decision_advice"] not in ("", text("board_unstructured", "en"))
    assert conclusion["summary"]
    assert (conclusion["total_rounds"], conclusion["stopped_by"]) == (3, "rounds")
    points = [*conclusion["consensus_points"], *conclusion["dissent_points"]]
    assert all(isinstance(one, str) and one.strip() for one in points)
    for one in conclusion["dissent_points"]:
        assert any(name in one.rpartition("(")[2] for name in BOARD)


def check_team(frames: list[Frame]) -> None:
    """A valid plan, two phases of it at once, each reviewed; the results brought together, the team dissolved."""
    assert kinds(frames)[-1] == "final_answer", frames[-1]
    (formed,) = data_of(frames, "team_formed")
    assert tuple(one["name"] for one in formed["experts"]) == TEAM
    plan = data_of(frames, "plan_update")[0]["plan_phases"]
    assert {one["owner_name"] for one in plan} <= set(TEAM)
    independent = {one["id"] for one in plan if not one["depends_on"]}
    # Where there is no valid plan, the team says so in a risk, and the lead has the one phase.
    assert len(independent) >= 2, data_of(frames, "risk_flagged")
    turns = [
        (frame["type"], frame["data"]["phase_id"]) for frame in frames if frame["type"].startswith("phase_")
    ]
    assert {kind for kind, _ in turns[:2]} == {"phase_started"}
    assert {phase for _, phase in turns[:2]} <= independent
    done = {phase for kind, phase in turns if kind == "phase_completed"}
    assert done == {one["id"] for one in plan}
    assert {one["phase_id"] for one in data_of(frames, "review_result")} == done
    assert {one["expert_name"] for one in data_of(frames, "expert_result")} <= set(TEAM)
    (synthesis,) = data_of(frames, "team_synthesis")
    answer = frames[-1]
    assert synthesis["content"].strip()
    assert answer["content"].startswith(synthesis["content"])
    (dissolved,) = data_of(frames, "team_dissolved")
    assert dissolved["team_id"] == formed["team_id"]
