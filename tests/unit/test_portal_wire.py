"""Contract section 1: what each event is to a portal client. One event is at most one step."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec

from app.api.portal_wire import Ended, Routed, Step, Turn, socket_frame
from app.core import events as ev
from app.core.envelope import Recorded
from app.core.messages import ModelAnswer, ToolCall
from app.log.subscribe import Delta

AT = datetime(2026, 1, 2, tzinfo=UTC)
TASK = str(UUID(int=1))


def shown(*events: ev.Event) -> list[Step | Routed | Ended]:
    turn = Turn("en")
    found = [turn.show(recorded(offset, event)) for offset, event in enumerate(events, start=1)]
    return [one for one in found if one is not None]


def recorded(offset: int, event: ev.Event) -> Recorded:
    kind, payload = ev.event_type(event), ev.encode(event)
    return Recorded("s", offset, offset, 0, uuid4(), kind, payload, 1, "system", None, None, None, None, AT)


def test_a_whole_turn() -> None:
    call = ToolCall("c1", "calculator", '{"expression":"1+1"}')
    found = shown(
        ev.RunRequested("m", "1+1?", "assistant", "react", 1, method="default"),
        ev.RunClaimed("w", 1),
        ev.ModelCalled(1, "k"),
        ev.ModelAnswered(1, "k", ModelAnswer("x", text="Let me see.", thinking="Hm.", tool_calls=(call,))),
        ev.ToolCalled(2, "k", "c1", "calculator", call.arguments),
        ev.ToolReturned(2, "k", "c1", "calculator", "2"),
        ev.ModelAnswered(3, "k", ModelAnswer("x", text="It is 2.")),
        ev.MessageAnswered("a", "It is 2."),
        ev.RunCompleted(3),
    )
    frames = [socket_frame(one, TASK) for one in found]
    assert [frame["type"] for frame in frames] == ["routing", "step", "step", "step", "step", "result"]
    names = [frame["data"]["event_type"] for frame in frames if frame["type"] == "step"]
    assert names == ["turn.thinking", "turn.tool_call", "turn.tool_result", "turn.final_answer"]
    assert frames[1]["data"]["data"] == {"content": "Hm.\nLet me see."}
    assert frames[2]["data"]["data"]["arguments"] == {"expression": "1+1"}
    assert frames[-1] == {
        "type": "result",
        "data": {"message": "It is 2.", "timestamp": AT, "task_id": TASK},
        "offset": 9,
    }
    assert msgspec.json.encode(frames)


def test_an_error_is_one_sentence_of_at_most_200_characters() -> None:
    (ended,) = shown(ev.RunFailed("internal", "x" * 500))
    frame = socket_frame(ended, TASK)
    assert frame["type"] == "error"
    assert len(frame["data"]["message"]) == 200
    assert frame["data"]["task_id"] == TASK


def test_a_cancelled_task_ends_with_its_status() -> None:
    found = shown(ev.MessageInterrupted("a", "It i"), ev.RunCancelled("user:a"))
    frames = [socket_frame(one, TASK) for one in found]
    assert frames[0]["data"]["data"] == {"kind": "interrupted", "content": "It i"}
    assert frames[1]["data"] == {"status": "cancelled", "timestamp": AT, "task_id": TASK}


def test_tokens_have_no_offset() -> None:
    frame = socket_frame(Turn("en").token(Delta(UUID(int=2), None, "text", "He", reset=True), AT), TASK)
    assert frame["data"]["event_type"] == "turn.token"
    assert frame["data"]["data"] == {"content": "He", "answer_id": str(UUID(int=2)), "reset": True}
    assert "offset" not in frame


def test_arguments_that_are_no_json_are_shown_as_they_are() -> None:
    (step,) = shown(ev.ToolCalled(1, "k", "c", "calculator", "{oops"))
    assert isinstance(step, Step)
    assert step.data["arguments"] == "{oops"
