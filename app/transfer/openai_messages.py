"""A whole conversation as the OpenAI API takes it for `messages`. Pure: events in, messages out.

What clients and imports have put in comes out as it was. What was said here becomes what a model was sent and
answered: the user's message, calls of tools with their results, the answer. The messages of a run stand together at
the place where it ended, since the API takes the results of tools only right behind their call; every call has one:

    the tool's result, also where it was added later ─┐
    an operation's: pending, and then what came of it ├─► right behind the call
    none: a text that says why there is none         ─┘
"""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    ConversationDeleted,
    Event,
    MessageAdded,
    MessageAnswered,
    MessageImported,
    MessageInterrupted,
    MessageReceived,
    ModelAnswered,
    OperationFinished,
    OperationStarted,
    PhaseChanged,
    PhaseViolated,
    RunCancelled,
    RunCompleted,
    RunFailed,
    RunRequested,
    ToolCalled,
    ToolReturned,
    UnknownEvent,
)
from app.core.meeting_events import MEETING_MODES
from app.core.messages import ToolCall
from app.core.openai_shape import is_accepted
from projections.imported import ImportedMessage, read_imported
from projections.transcript_cards import pending

NO_RESULT = "(no result: the run ended before the tool returned)"
NOT_YET = "(no result yet: the tool is still at work)"
NOT_CARRIED_OUT = "(not carried out)"
NEVER_GIVEN = "(no result was given)"
ADVANCE = "advance_phase"

_encoder = msgspec.json.Encoder()


class _Entry:
    """A message, and the results of its tool calls. `missing` says why a call has none; None: that is left open."""

    def __init__(
        self, message: msgspec.Raw, calls: Iterable[ToolCall] = (), *, missing: str | None = NEVER_GIVEN
    ) -> None:
        self.message = message
        self.open = list(calls)
        self.results: list[msgspec.Raw] = []
        self.missing = missing
        self.synthetic = False

    def answer(self, call_id: str, result: msgspec.Raw) -> int | None:
        """Where among the results this one is; None if no open call has this id."""
        call = next((call for call in self.open if call.id == call_id), None)
        if call is None:
            return None
        self.open.remove(call)
        self.results.append(result)
        return len(self.results) - 1

    def shown(self, *, followed: bool) -> Iterable[msgspec.Raw]:
        """`followed`: something that was not imported comes behind it, so that nothing can be left open."""
        yield self.message
        yield from self.results
        if self.missing is not None or followed:
            for call in self.open:
                yield tool_result(call.id, self.missing or NEVER_GIVEN)


class _Run:
    """What a run has said. `operations` are the calls that go on by themselves, `ended` those that were faster."""

    def __init__(self) -> None:
        self.entries: list[_Entry] = []
        self.operations: set[str] = set()
        self.ended: dict[str, str] = {}
        self.missing = NOT_YET

    def find(self, call_id: str) -> _Entry | None:
        """The newest message with this call open."""
        found = (entry for entry in reversed(self.entries) if any(call.id == call_id for call in entry.open))
        return next(found, None)

    def called(self, event: ToolCalled) -> None:
        """A call that no model has asked for in the API's way (the steps of a plan) becomes one that it has."""
        if self.find(event.call_id) is not None:
            return
        call = ToolCall(event.call_id, event.name, event.arguments)
        last = self.entries[-1] if self.entries else None
        if last is not None and last.synthetic and not last.results:
            last.open.append(call)
            last.message = assistant("", last.open)
            return
        entry = _Entry(assistant("", [call]), [call])
        entry.synthetic = True
        self.entries.append(entry)

    def advanced(self, event: PhaseChanged) -> None:
        """`plan_exec` answers this call itself."""
        call = next((call for entry in self.entries for call in entry.open if call.name == ADVANCE), None)
        if call is not None and (entry := self.find(call.id)) is not None:
            entry.answer(call.id, tool_result(call.id, f"The phase {event.phase} begins."))


class OpenAIMessages:
    """Folds one conversation's events, in their order.

    `exporting`: with the system prompts, where they change, and with what was imported exactly as it was. Otherwise
    what the client's types would not take (a key that is null, a part of an unknown type) comes in a form that they do.
    """

    def __init__(self, *, exporting: bool = False) -> None:
        self._exporting = exporting
        self.forget()

    def forget(self) -> None:
        """What was said so far was deleted."""
        self._entries: list[_Entry] = []
        self._runs: dict[UUID, _Run] = {}
        self._meetings: set[UUID] = set()
        self._pending: dict[tuple[str, str], tuple[_Entry, int]] = {}
        self._system_prompt = ""

    def add(self, recorded: Recorded) -> None:
        event = recorded.event()
        match event:
            case ConversationDeleted():
                self.forget()
            case MessageImported():
                self._take(_Entry(event.message, _calls_of(event.message), missing=None))
            case MessageAdded():
                self._add(event.message)
            case MessageReceived():
                self._say({"role": "user", "content": event.content})
            case RunRequested(parent=None) if recorded.task_id is not None:
                if event.mode in MEETING_MODES:
                    self._meetings.add(recorded.task_id)
                else:
                    self._runs[recorded.task_id] = _Run()
                self._prompt(event.system_prompt)
            case OperationFinished():
                self._finished(event)
            case MessageAnswered() | MessageInterrupted():
                self._answered(recorded.task_id, event.content)
            case RunCompleted() | RunFailed() | RunCancelled() if recorded.task_id is not None:
                self._end(recorded.task_id, NOT_CARRIED_OUT if isinstance(event, RunCompleted) else NO_RESULT)
            case _:
                run = self._runs.get(recorded.task_id) if recorded.task_id is not None else None
                if run is not None:
                    self._work(run, str(recorded.task_id), event)

    def messages(self) -> list[msgspec.Raw]:
        """All of them, as JSON; what runs have said that are still at work comes last."""
        entries = [*self._entries]
        for run in self._runs.values():
            entries += _closed(run, run.missing)
        last = max((n for n, entry in enumerate(entries) if entry.missing is not None), default=-1)
        said = [message for n, entry in enumerate(entries) for message in entry.shown(followed=n < last)]
        return said if self._exporting else [one if is_accepted(one) else repaired(one) for one in said]

    def calls(self) -> tuple[set[str], set[str]]:
        """Ids of tool calls: those that wait for a result which somebody may add, and those that have one or get it
        from their run."""
        placed = [call.id for entry in self._entries for call in entry.open]
        running = [call.id for run in self._runs.values() for entry in run.entries for call in entry.open]
        results = [
            answers
            for entries in (self._entries, *(run.entries for run in self._runs.values()))
            for entry in entries
            for result in entry.results
            if (answers := _answers(result)) is not None
        ]
        return set(placed), {*running, *results} - set(placed)

    def _work(self, run: _Run, task_id: str, event: Event | UnknownEvent) -> None:
        match event:
            case ModelAnswered(aside=False) if event.answer.tool_calls:
                message = assistant(event.answer.text, event.answer.tool_calls)
                run.entries.append(_Entry(message, event.answer.tool_calls))
            case ToolCalled():
                run.called(event)
            case OperationStarted():
                run.operations.add(event.call_id)
            case ToolReturned():
                self._returned(run, task_id, event)
            case PhaseViolated():
                if (entry := run.find(event.call_id)) is not None:
                    refusal = f"Not called: the phase {event.phase} does not allow {event.tool}."
                    entry.answer(event.call_id, tool_result(event.call_id, refusal))
            case PhaseChanged():
                run.advanced(event)
            case _:
                pass

    def _returned(self, run: _Run, task_id: str, event: ToolReturned) -> None:
        entry = run.find(event.call_id)
        if entry is None:
            return
        content = event.content
        if event.call_id in run.operations:
            content = run.ended.get(event.call_id, pending(content))
        at = entry.answer(event.call_id, tool_result(event.call_id, content))
        if at is not None and event.call_id in run.operations:
            self._pending[task_id, event.call_id] = entry, at

    def _finished(self, event: OperationFinished) -> None:
        """The result of an operation takes the place of the pending one."""
        place = self._pending.pop((event.parent, event.call_id), None)
        if place is not None:
            entry, at = place
            entry.results[at] = tool_result(event.call_id, event.content)
        elif event.parent and (run := self._runs.get(UUID(event.parent))) is not None:
            run.ended[event.call_id] = event.content

    def _answered(self, task_id: UUID | None, content: str) -> None:
        """A meeting's answer stands for all that was said there. One of a run from before a deletion is forgotten."""
        run = self._runs.get(task_id) if task_id is not None else None
        message = {"role": "assistant", "content": content}
        if run is not None:
            run.entries += [_Entry(_raw(message))] if content else []
        elif content and (task_id is None or task_id in self._meetings):
            self._say(message)

    def _end(self, task_id: UUID, missing: str) -> None:
        self._entries += _closed(self._runs.pop(task_id, _Run()), missing)

    def _prompt(self, system_prompt: str) -> None:
        """In front of the message that it is for; once, as long as it stays the same."""
        if not self._exporting or not system_prompt or system_prompt == self._system_prompt:
            return
        self._system_prompt = system_prompt
        entry = _Entry(_raw({"role": "system", "content": system_prompt}))
        last_is_user = bool(self._entries) and _role_of(self._entries[-1].message) == "user"
        self._entries.insert(len(self._entries) - last_is_user, entry)

    def _say(self, message: dict[str, Any]) -> None:
        self._entries.append(_Entry(_raw(message)))

    def _take(self, entry: _Entry) -> None:
        """An imported message: a result that stands right behind its call is one, others are left as they are."""
        last = self._entries[-1] if self._entries else None
        answers = _answers(entry.message)
        if last is None or answers is None or last.answer(answers, entry.message) is None:
            self._entries.append(entry)

    def _add(self, message: msgspec.Raw) -> None:
        """A result goes behind its call, also where that is further back."""
        answers = _answers(message)
        if answers is not None:
            for entry in reversed(self._entries):
                if entry.answer(answers, message) is not None:
                    return
        self._entries.append(_Entry(message, _calls_of(message)))


def assistant(text: str, calls: Iterable[ToolCall]) -> msgspec.Raw:
    """A message that asks for tools."""
    asked = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    return _raw({"role": "assistant", "content": text or None, "tool_calls": asked})


def tool_result(call_id: str, content: str) -> msgspec.Raw:
    return _raw({"role": "tool", "tool_call_id": call_id, "content": content})


def repaired(message: msgspec.Raw) -> msgspec.Raw:
    """What there is of an imported message in a form that the client's types take."""
    found = read_imported(message)
    fields: dict[str, Any] = {"role": found.role, "content": found.text}
    match found.role:
        case "assistant":
            fields["content"] = found.text or None
            if found.refusal is not None:
                fields |= {"content": _text_alone(found), "refusal": found.refusal}
            calls = _calls_of(message)
            if calls:
                fields["tool_calls"] = msgspec.json.decode(assistant("", calls))["tool_calls"]
        case "tool":
            fields["tool_call_id"] = found.tool_call_id or ""
        case "function":
            fields["name"] = found.name or "function"
        case _:
            pass
    if found.name is not None:
        fields["name"] = found.name
    return _raw(fields)


def _text_alone(found: ImportedMessage) -> str | None:
    return msgspec.structs.replace(found, refusal=None).text or None


def _closed(run: _Run, missing: str) -> list[_Entry]:
    for entry in run.entries:
        entry.missing = missing
    return run.entries


def _calls_of(message: msgspec.Raw) -> list[ToolCall]:
    """The tool calls of an imported or added message."""
    found: list[ToolCall] = []
    for call in read_imported(message).tool_calls or ():
        function: dict[str, Any] = call.get("function") or {}
        name, arguments = str(function.get("name", "")), str(function.get("arguments", ""))
        found.append(ToolCall(str(call.get("id", "")), name, arguments))
    return found


def _answers(message: msgspec.Raw) -> str | None:
    """The id of the tool call of which this message is the result."""
    found = read_imported(message)
    return found.tool_call_id if found.role == "tool" else None


def _role_of(message: msgspec.Raw) -> str:
    return read_imported(message).role


def _raw(message: dict[str, Any]) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(message))
