"""Contract section 1: what each event is to a portal client. One event is at most one step."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import msgspec
import pytest

from app.api.portal_wire import Turn, socket_frame
from app.api.shown import Ended, Routed, Shown, Step
from app.core import events as ev
from app.core.envelope import Recorded
from app.core.messages import ModelAnswer, ToolCall
from app.log.subscribe import Delta

AT = datetime(2026, 1, 2, tzinfo=UTC)
TASK = str(UUID(int=1))


def shown(*events: ev.Event) -> list[Shown]:
    turn = Turn("en")
    return [one for offset, event in enumerate(events, start=1) for one in turn.show(recorded(offset, event))]


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
    (token,) = Turn("en").token(Delta(UUID(int=2), None, "text", "He", reset=True), AT)
    frame = socket_frame(token, TASK)
    assert frame["data"]["event_type"] == "turn.token"
    assert frame["data"]["data"] == {"content": "He", "answer_id": str(UUID(int=2)), "reset": True}
    assert "offset" not in frame


def test_arguments_that_are_no_json_are_shown_as_they_are() -> None:
    (step,) = shown(ev.ToolCalled(1, "k", "c", "calculator", "{oops"))
    assert isinstance(step, Step)
    assert step.data["arguments"] == "{oops"


@pytest.mark.parametrize(
    ("event", "name", "data"),
    [
        (ev.HumanAsked("q", 2, "Which?", AT, "c"), "ask_human", {"question": "Which?", "request_id": "q"}),
        (ev.HumanAnswered("q", "red", "user:a"), "human_answered", {"request_id": "q", "content": "red"}),
        (ev.HumanUnanswered("q", "deadline"), "human_unanswered", {"reason": "deadline"}),
        (
            ev.ConfirmationRequested("n", 2, "shell", "ls", "why", "d", AT, "c"),
            "confirmation_request",
            {"confirmation_id": "n", "command": "ls", "reason": "why"},
        ),
        (ev.ConfirmationAnswered("n", True, "d", "user:a"), "confirmation_result", {"approved": True}),
        (ev.ConfirmationExpired("n", "deadline"), "confirmation_result", {"approved": False}),
        (ev.PhaseChanged("plan", "explore"), "phase_changed", {"phase": "plan", "previous": "explore"}),
        (ev.PhaseViolated("plan", "shell"), "phase_violation", {"tool": "shell", "allowed": []}),
        (ev.PlanDrafted(()), "plan", {"steps": []}),
        (ev.AttemptCritiqued(1, False, "short"), "critique", {"attempt": 1, "critique": "short"}),
        (ev.HistorySummarized("boats", 9, 4), "summary", {"content": "boats", "until": 9}),
        (ev.OperationStarted("o", "render", "on"), "operation", {"status": "operation_started"}),
        (
            ev.OperationFinished("o", "render", "done"),
            "operation",
            {"status": "operation_finished", "content": "done"},
        ),
        (ev.EffectUnknown(2, "k", "c", "pay"), "effect_unknown", {"name": "pay"}),
        (
            ev.ModelAttemptFailed(1, "k", 1, "main", "big", "timeout", "slow"),
            "model_attempt_failed",
            {"tier": "main", "error_class": "timeout"},
        ),
        (ev.InterventionHeard(2, ()), "steered", {"messages": []}),
        (ev.SpeakerInterrupted("user:a"), "speaker_interrupted", {"by": "user:a"}),
    ],
)
def test_what_happens_besides_text_and_tools_is_a_step_under_its_name(
    event: ev.Event, name: str, data: dict[str, object]
) -> None:
    (step,) = shown(event)
    frame = socket_frame(step, TASK)
    assert frame["data"]["event_type"] == f"turn.{name}"
    assert frame["data"]["data"].items() >= data.items()
    assert frame["offset"] == 1


def test_a_task_whose_message_another_one_heard_is_steered() -> None:
    (ended,) = shown(ev.RunMerged("other", "m"))
    frame = socket_frame(ended, TASK)
    assert frame["type"] == "result"
    assert frame["data"].items() >= {"status": "steered", "merged_into": "other", "task_id": TASK}.items()
    assert frame["data"]["message"]


def test_an_operation_shows_its_result_alone() -> None:
    found = shown(
        ev.RunRequested("c", "{}", "assistant", "operation", 1, parent="other"),
        ev.ToolCalled(1, "k", "operation", "render", "{}"),
        ev.ToolReturned(1, "k", "operation", "render", "done"),
        ev.OperationFinished("o", "render", "done"),
        ev.RunCompleted(),
    )
    assert [type(one) for one in found] == [Step, Ended]


def test_the_end_says_where_the_last_tier_has_answered() -> None:
    """Only the attempts of the call that gave the answer count, and only if the last tier gave it."""
    failed = ev.ModelAttemptFailed(1, "k", 1, "main", "big", "timeout", "slow")
    emergency = ev.ModelAnswered(1, "k", ModelAnswer("small", "hi"), 5, 2, "emergency")
    for events, tiers in (
        ((ev.ModelCalled(1, "k"), failed, emergency), ["main"]),
        ((ev.ModelCalled(1, "k"), failed, emergency, ev.ModelCalled(2, "k")), None),
        (
            (ev.ModelCalled(1, "k"), failed, ev.ModelAnswered(1, "k", ModelAnswer("mid"), tier="recovery")),
            None,
        ),
    ):
        ended = shown(*events, ev.MessageAnswered("a", "hi"), ev.RunCompleted())[-1]
        assert isinstance(ended, Ended)
        told = ended.fallback and [one["tier"] for one in ended.fallback.fallback_status["attempts"]]
        assert told == tiers
        assert ("fallback_status" in socket_frame(ended, TASK)["data"]) is (tiers is not None)


def test_where_the_tiers_before_it_rest_the_last_one_is_asked_at_once() -> None:
    emergency = ev.ModelAnswered(1, "k", ModelAnswer("small", "hi"), 5, 1, "emergency")
    ended = shown(ev.ModelCalled(1, "k"), emergency, ev.MessageAnswered("a", "hi"), ev.RunCompleted())[-1]
    assert isinstance(ended, Ended)
    assert ended.fallback is not None
    assert ended.fallback.fallback_status["attempts"] == []
    assert ended.fallback.error_struct["error_class"] == "resting"
    assert ended.fallback.error_struct["message"]


def test_text_with_a_call_that_nobody_offered_is_still_the_answer_of_direct_chat() -> None:
    answer = ModelAnswer("m", "Hello.", tool_calls=(ToolCall("c", "f"),))
    found = shown(ev.RunRequested("m", "hi", "a", "direct_chat", 1), ev.ModelAnswered(1, "k", answer))
    assert [type(one) for one in found] == [Routed]
