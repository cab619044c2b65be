"""Given events, the messages that people see."""

import msgspec
import pytest

from app.core import events as ev
from app.core.messages import ModelAnswer, ToolCall
from projections import transcript
from projections.projection import fold_all
from projections.transcript import Card
from projections.transcript_cards import STEPS_MAX
from tests.support.projected import START, Book, requested, said, task

RUN = task(1)


def cards(book: Book) -> list[Card]:
    """Shown ones, in their order."""
    rows = fold_all(transcript.PROJECTION, book.page(transcript.PROJECTION).entries).values()
    return sorted((row for row in rows if row.shown_offset), key=lambda row: row.shown_offset)


def metadata(card: Card) -> dict[str, object]:
    return msgspec.json.decode(msgspec.json.encode(card.metadata))


def asked() -> Book:
    book = Book()
    book.add(ev.MessageReceived("m1", "what is 6*7?", client_message_id="mine"))
    book.add(requested(skill="math", method="prefix", confidence=0.9), RUN)
    return book


def test_a_users_message_is_shown_as_it_was_received() -> None:
    book = Book()
    book.add(ev.MessageReceived("m1", "hi", client_message_id="mine", sources=("a.txt",)))
    (card,) = cards(book)
    assert (card.id, card.role, card.content, card.shown_at) == (
        "m1",
        "user",
        "hi",
        book.recorded[0].recorded_at,
    )
    assert metadata(card) == {"offset": 1, "client_message_id": "mine", "sources": ["a.txt"]}


def test_a_run_is_one_message_with_routing_thinking_and_tool_calls() -> None:
    book = asked()
    call = ToolCall("c1", "calculator", '{"expression":"6*7"}')
    book.add(ev.ModelAnswered(1, "k", ModelAnswer("small", "I compute.", "let me see", (call,))), RUN)
    book.add(ev.ToolCalled(2, "k", "c1", "calculator", call.arguments), RUN)
    book.add(ev.ToolReturned(2, "k", "c1", "calculator", "42", duration_ms=3), RUN)
    assert len(cards(book)) == 1, "nothing of the answer is shown before it is there"
    book.add(ev.ModelAnswered(3, "k", ModelAnswer("small", "42", "clear now")), RUN)
    book.add(ev.MessageAnswered("m2", "42", thinking="clear now"), RUN)
    book.add(ev.RunCompleted(3, 1), RUN)
    _, answer = cards(book)
    assert (answer.id, answer.role, answer.content) == ("m2", "assistant", "42")
    assert metadata(answer) == {
        "offset": 7,
        "task_id": str(RUN),
        "matched_skill": "math",
        "confidence": 0.9,
        "routing_method": "prefix",
        "mode": "react",
        "agent": "assistant",
        "model": "small",
        "thinking": "let me see\n\nI compute.\n\nclear now",
        "tool_calls": [
            {
                "call_id": "c1",
                "name": "calculator",
                "arguments": '{"expression":"6*7"}',
                "step": 2,
                "result": "42",
                "duration_ms": 3,
            }
        ],
    }


def test_a_tool_call_recorded_again_after_a_crash_is_one_card() -> None:
    book = asked()
    for _ in range(2):
        book.add(ev.ToolCalled(2, "k", "c1", "clock", "{}"), RUN)
    book.add(ev.ToolReturned(2, "k", "c1", "clock", "noon", error_class="late"), RUN)
    book.add(ev.MessageAnswered("m2", "noon"), RUN)
    (card,) = cards(book)[1].metadata.tool_calls
    assert (card.result, card.error_class) == ("noon", "late")


def test_two_calls_of_the_same_id_in_two_steps_keep_their_own_results() -> None:
    book = asked()
    for step, result in ((2, "one"), (4, "two")):
        book.add(ev.ToolCalled(step, "k", "call_1", "clock", "{}"), RUN)
        book.add(ev.ToolReturned(step, "k", "call_1", "clock", result), RUN)
    book.add(ev.MessageAnswered("m2", "done"), RUN)
    assert [card.result for card in cards(book)[1].metadata.tool_calls] == ["one", "two"]


def test_a_fallback_answer_says_so() -> None:
    book = asked()
    book.add(ev.MessageAnswered("m2", "sorry", fallback=True), RUN)
    assert cards(book)[1].metadata.fallback


@pytest.mark.parametrize(
    "ending", [ev.RunFailed("model_error", "The model is away."), ev.RunCancelled("user:alice")]
)
def test_what_there_was_of_an_answer_is_shown_as_interrupted(ending: ev.RunFailed | ev.RunCancelled) -> None:
    book = asked()
    book.add(ev.MessageInterrupted("m2", "Forty-t"), RUN)
    book.add(ending, RUN)
    _, answer = cards(book)
    assert (answer.content, answer.metadata.status) == ("Forty-t", "interrupted")
    failed = isinstance(ending, ev.RunFailed)
    assert answer.metadata.error == ("The model is away." if failed else None)
    assert answer.metadata.error_class == ("model_error" if failed else None)


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_run_that_failed_without_a_word_shows_why(interrupted: bool) -> None:
    book = asked()
    if interrupted:
        book.add(ev.MessageInterrupted("m2", " "), RUN)
    book.add(ev.RunFailed("model_error", "The model is away. " + "x" * 300), RUN)
    _, answer = cards(book)
    assert answer.content == ("The model is away. " + "x" * 300)[:200]
    assert (answer.metadata.status, answer.metadata.error_class) == ("failed", "model_error")
    assert not interrupted or answer.id == "m2"


@pytest.mark.parametrize(("locale", "content"), [("en", "The task was cancelled."), ("zh", "任务已取消。")])
def test_a_run_that_was_cancelled_without_a_word_says_so_in_its_language(locale: str, content: str) -> None:
    book = Book()
    book.add(requested(locale=locale), RUN)
    book.add(ev.RunCancelled("user:alice"), RUN)
    (answer,) = cards(book)
    assert (answer.content, answer.metadata.status) == (content, "cancelled")


def test_imported_messages_are_shown_by_their_role() -> None:
    book = Book()
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages = [
        said("system", "be kind"),
        said("user", [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "u"}}]),
        said("assistant", None, tool_calls=[call]),
        said("tool", "found", tool_call_id="c1", name="find"),
        said("assistant", None, refusal="I may not."),
    ]
    for index, message in enumerate(messages):
        book.add(ev.MessageImported(index, message))
    shown = cards(book)
    assert [(card.role, card.content) for card in shown] == [
        ("system", "be kind"),
        ("user", "look\n[image_url]"),
        ("assistant", ""),
        ("tool", "found"),
        ("assistant", "I may not."),
    ]
    assert metadata(shown[2])["tool_calls"] == [{"call_id": "c1", "name": "find", "arguments": "{}"}]
    assert (shown[3].tool_call_id, shown[3].metadata.name) == ("c1", "find")


def test_a_deletion_forgets_and_a_later_message_starts_anew() -> None:
    book = asked()
    book.add(ev.ConversationDeleted("c1"))
    assert cards(book) == []
    book.add(ev.MessageReceived("m3", "again"))
    book.add(ev.MessageAnswered("m2", "to the first question"), RUN)
    assert [card.id for card in cards(book)] == ["m3"]


def test_events_of_a_newer_release_leave_rows_as_they_are() -> None:
    book = asked()
    before = cards(book)
    book.add(ev.UnknownEvent("message.sung", '{"type":"message.sung"}'), RUN)
    assert cards(book) == before


def operating() -> Book:
    book = asked()
    book.add(ev.ToolCalled(2, "k", "c1", "render", "{}"), RUN)
    book.add(requested("{}", parent=str(RUN)), task(2))
    book.add(ev.OperationStarted(str(task(2)), "render", "It goes on.", "c1", "{}", 2), RUN)
    return book


TOLD = '{"status":"operation_started","operation_id":"o","tool_name":"render","message":"It goes on."}'


def test_an_operation_is_pending_until_its_result_takes_the_place_of_what_was_told() -> None:
    book = operating()
    book.add(ev.ToolReturned(2, "k", "c1", "render", TOLD), RUN)
    book.add(ev.MessageAnswered("m2", "It is on its way."), RUN)
    (call,) = cards(book)[1].metadata.tool_calls
    assert (call.operation_id, call.status) == (str(task(2)), "operation_pending")
    assert msgspec.json.decode(call.result or "")["status"] == "operation_pending"
    book.add(ev.OperationFinished(str(task(2)), "render", "a picture", None, "c1", str(RUN)), task(2))
    book.add(ev.RunCompleted(), task(2))
    (call,) = cards(book)[1].metadata.tool_calls
    assert (call.result, call.status) == ("a picture", "operation_finished")


def test_an_operation_that_ends_before_its_start_was_told_keeps_its_result() -> None:
    book = operating()
    book.add(ev.OperationFinished(str(task(2)), "render", "no", "failed", "c1", str(RUN)), task(2))
    book.add(ev.RunFailed("failed", "no"), task(2))
    book.add(ev.ToolReturned(2, "k", "c1", "render", TOLD), RUN)
    book.add(ev.MessageAnswered("m2", "done"), RUN)
    assert len(cards(book)) == 2, "the operation has no message of its own"
    (call,) = cards(book)[1].metadata.tool_calls
    assert (call.result, call.error_class, call.status) == ("no", "failed", "operation_finished")


def test_a_reload_has_the_steps_that_were_told_live() -> None:
    book = asked()
    for event in (
        ev.PhaseChanged("plan", "explore", "done", 2, "k"),
        ev.PhaseViolated("plan", "shell", ("search",), "c", 3, "k"),
        ev.PlanDrafted((ev.PlanStep("Look", "#E1", "search", "{}"),), 4, "k"),
        ev.HumanAsked("q", 5, "Which?", START),
        ev.HumanAnswered("q", "red", "user:alice"),
        ev.EffectUnknown(6, "k", "c", "pay"),
    ):
        book.add(event, RUN)
    book.add(ev.MessageAnswered("m2", "done"), RUN)
    steps = metadata(cards(book)[1])["steps"]
    assert isinstance(steps, list)
    assert [step["name"] for step in steps] == [
        "phase_changed",
        "phase_violation",
        "plan",
        "ask_human",
        "human_answered",
        "effect_unknown",
    ]
    assert steps[0] == {
        "name": "phase_changed",
        "data": {"phase": "plan", "previous": "explore", "reason": "done"},
        "step": 2,
    }


def test_a_message_keeps_the_first_500_steps() -> None:
    book = asked()
    for number in range(STEPS_MAX + 1):
        book.add(ev.PhaseChanged(str(number)), RUN)
    book.add(ev.MessageAnswered("m2", "done"), RUN)
    steps = cards(book)[1].metadata.steps
    assert (len(steps), steps[-1].data["phase"]) == (500, "499")


def test_a_message_that_another_task_heard_has_no_answer_of_its_own() -> None:
    book = asked()
    book.add(ev.RunMerged(str(task(2)), "m1"), RUN)
    assert [card.role for card in cards(book)] == ["user"]
