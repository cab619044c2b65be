"""Events for people who watch a log: one line each, and at which pace to show them again."""

from collections.abc import Iterable, Iterator
from datetime import datetime

from app.core import events as ev
from app.core.envelope import Recorded

SUMMARY_CHARS_MAX = 100


def human_line(recorded: Recorded) -> str:
    """Position, time (UTC), stream and offset, type, actor, and what it says, on one line."""
    when = recorded.recorded_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    said = _cut(" ".join(_printable(_said(recorded)).split()))
    place = f"{recorded.stream}#{recorded.offset}"
    return f"{recorded.position:>7} {when} {place} {recorded.type} {recorded.actor} {said}".rstrip()


def pauses(
    page: Iterable[Recorded], speed: float, last: datetime | None = None
) -> Iterator[tuple[float, Recorded]]:
    """Each event with the seconds to wait before it: its distance from the one before, divided by `speed` (0: none)."""
    for recorded in page:
        apart = (recorded.recorded_at - last).total_seconds() if last is not None else 0.0
        last = recorded.recorded_at
        yield (max(0.0, apart) / speed if speed > 0 else 0.0), recorded


def _said(recorded: Recorded) -> str:
    match recorded.event():
        case (
            ev.MessageReceived(content=text)
            | ev.MessageAnswered(content=text)
            | ev.MessageInterrupted(content=text)
        ):
            return text
        case ev.MessageImported(message=message) | ev.MessageAdded(message=message):
            return bytes(message).decode()
        case ev.ConversationImported(source_id=text) | ev.ConversationCreated(conversation_id=text):
            return text
        case ev.RunRequested() as run:
            return f"{run.agent} {run.mode}: {run.input}"
        case ev.RunClaimed() as claim:
            return f"{claim.worker} epoch {claim.epoch}"
        case ev.ModelAnswered() as answered:
            calls = ", ".join(f"{call.name}({call.arguments})" for call in answered.answer.tool_calls)
            return calls or answered.answer.text
        case ev.ToolCalled() as call:
            return f"{call.name}({call.arguments})"
        case ev.ToolReturned() as returned:
            return f"{returned.name}: {returned.content}"
        case ev.RunFailed(message=text) | ev.ModelFailed(message=text):
            return text
        case ev.RunCompleted() as done:
            return f"{done.steps} steps, {done.usage.total_tokens} tokens, {done.duration_ms} ms"
        case _:
            return ""


def _printable(text: str) -> str:
    """Without what would steer a terminal."""
    head = text[: SUMMARY_CHARS_MAX * 4]
    return "".join(char if char.isprintable() or char.isspace() else "�" for char in head)


def _cut(text: str) -> str:
    return text if len(text) <= SUMMARY_CHARS_MAX else text[: SUMMARY_CHARS_MAX - 1] + "…"
