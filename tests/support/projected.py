"""Events with their place in a log that a test writes itself, for tests of what is folded from them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5
from zlib import crc32

import msgspec
import psycopg
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool

from app.core import events as ev
from app.core.envelope import Recorded
from app.core.messages import ModelAnswer, ToolCall, Usage
from projections.pages import decode_page
from projections.projection import AnyProjection, Page
from projections.transcript import Card

NAMESPACE = UUID("00000000-0000-4000-8000-000000000001")
START = datetime(2026, 1, 1, tzinfo=UTC)
STREAM = "conversation/alice/c1"
CHARGED = ("", "", "sales", "law")
"""Departments that pay."""


def task(number: int) -> UUID:
    return uuid5(NAMESPACE, f"task {number}")


def said(role: str, content: object, **fields: object) -> msgspec.Raw:
    """A message in the OpenAI shape, as an import would keep it."""
    return msgspec.Raw(msgspec.json.encode({"role": role, "content": content, **fields}))


def requested(message: str = "hello", **fields: object) -> ev.RunRequested:
    return ev.RunRequested("m1", message, "assistant", "react", 1, **fields)


class Book:
    """Gives events their places; a second apart. `pages` cuts them as a runner would read them."""

    def __init__(self, *, after: int = 0) -> None:
        self.recorded: list[Recorded] = []
        self._after = after
        self._offsets: Counter[str] = Counter()

    def add(
        self, event: ev.Event | ev.UnknownEvent, task_id: UUID | None = None, stream: str = STREAM
    ) -> Recorded:
        self._offsets[stream] += 1
        position = self._after + len(self.recorded) + 1
        kind, payload = (
            (event.type, event.payload)
            if isinstance(event, ev.UnknownEvent)
            else (ev.event_type(event), ev.encode(event))
        )
        self.recorded.append(
            Recorded(
                stream=stream,
                offset=self._offsets[stream],
                position=position,
                partition=0,
                id=uuid5(NAMESPACE, f"event {position}"),
                type=kind,
                payload=payload,
                schema_version=1,
                actor="system",
                task_id=task_id,
                causation_id=None,
                correlation_id=None,
                idempotency_key=None,
                recorded_at=START + timedelta(seconds=position),
            )
        )
        return self.recorded[-1]

    def page(self, projection: AnyProjection) -> Page:
        if not self.recorded:
            return Page(0, 0, [], frozenset())
        return decode_page(self.recorded, projection.handles)

    def pages(self, projection: AnyProjection, sizes: Iterator[int]) -> Iterator[Page]:
        start = 0
        while start < len(self.recorded):
            size = next(sizes)
            yield decode_page(self.recorded[start : start + size], projection.handles)
            start += size


def write(dsn: str, recorded: Iterable[Recorded]) -> None:
    """Into the tables of the log, at exactly these places."""
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        for one in recorded:
            cursor.execute(
                "INSERT INTO streams (name, partition) VALUES (%s, 0) ON CONFLICT DO NOTHING", (one.stream,)
            )
            cursor.execute("SELECT id FROM streams WHERE name = %s", (one.stream,))
            row = cursor.fetchone()
            assert row is not None
            cursor.execute("UPDATE partitions SET position = %s WHERE partition = 0", (one.position,))
            cursor.execute(
                "INSERT INTO events (position, stream_id, stream_offset, recorded_at, id, task_id, partition, "
                "schema_version, type, actor, payload) VALUES (%s, %s, %s, %s, %s, %s, 0, 1, %s, 'system', %s)",
                (
                    one.position,
                    row[0],
                    one.offset,
                    one.recorded_at,
                    one.id,
                    one.task_id,
                    one.type,
                    one.payload,
                ),
            )


@asynccontextmanager
async def reads(dsn: str):
    """A pool as the read queries take it."""
    async with AsyncConnectionPool(dsn, min_size=1, max_size=2, open=False) as pool:
        yield pool


_texts = st.text(max_size=30) | st.sampled_from(
    ["", " ", "@board topic", "@team:a,b 主题", "hello world", "a\0b"]
)
_KINDS = (
    *(
        "user",
        "user",
        "import",
        "request",
        "request",
        "claim",
        "model",
        "think",
        "call",
        "return",
        "answer",
        "answer",
    ),
    *("interrupt", "complete", "fail", "cancel", "create", "delete", "delete", "unknown", "other"),
    *("upload", "upload", "forget", "notify", "notify", "delivered", "remind", "remind", "fired", "unremind"),
    *(
        "ask",
        "reply",
        "expire",
        "attempt",
        "phase",
        "merge",
        "operate",
        "started",
        "finished",
        "open",
        "close",
    ),
    *(
        "board",
        "speak",
        "speak",
        "sum",
        "conclude",
        "minute",
        "form",
        "plan",
        "begin",
        "done",
        "child",
        "told",
    ),
    *("add", "add", "title", "describe", "imported", "confirm", "consent", "unsure", "use", "interject"),
    *("note", "note", "note"),
)
_NOTES = tuple(
    event
    for line in (Path(__file__).parents[1] / "unit" / "golden_events.jsonl").read_bytes().splitlines()
    if isinstance(event := msgspec.json.decode(line, type=ev.Event), ev.Note | ev.InterventionHeard)
)
"""One of each kind that a mode puts on record, and more."""
_ENDS = ("answer", "interrupt", "complete", "fail", "cancel", "merge")
_steps = st.tuples(st.sampled_from(_KINDS), st.integers(0, 3), _texts)
_stories = st.lists(_steps, max_size=12) | st.lists(_steps, min_size=25, max_size=50)


@st.composite
def books(draw: st.DrawFn, *, after: int = 0, scope: str = "c") -> Book:
    """Any order of events in a few conversations."""
    return book_of(draw(_stories), after=after, scope=scope)


def one_of_each(rounds: int) -> Book:
    """Every kind of event that `books` may have, so many times."""
    begun = ("request", 0, "text")  # a run that has not ended
    return book_of(
        [step for n in range(rounds) for kind in _KINDS for step in (begun, (kind, n % 4, "text"))]
    )


def book_of(story: Sequence[tuple[str, int, str]], *, after: int = 0, scope: str = "c") -> Book:
    """Runs, messages and imports have ids of their own, as in real life."""
    book = Book(after=after)
    tasks: list[tuple[UUID, str]] = []
    ended, spoken, children = set[UUID](), set[UUID](), set[UUID]()
    for number, (kind, which, text) in enumerate(story):
        stream = f"conversation/alice/{scope}{which % 2}"
        run, run_stream = tasks[-1 - which % len(tasks)] if tasks else (None, stream)
        simple = _in_conversation(kind, number, text, which)
        if kind == "request":
            tasks.append((uuid5(NAMESPACE, f"{scope} {after} {number}"), stream))
            paid = {"charged_to": CHARGED[which], "bound": which > 0}
            book.add(requested(text, locale=("en", "zh")[which % 2], **paid), *tasks[-1])
        elif kind == "operate" and run is not None:
            tasks.append((uuid5(NAMESPACE, f"{scope} {after} {number}"), run_stream))
            children.add(tasks[-1][0])
            book.add(requested(text, parent=str(run)), *tasks[-1])
        elif kind == "finished" and run is not None:
            parent, _ = tasks[which % len(tasks)]
            book.add(ev.OperationFinished(str(run), "f", text, None, "c", str(parent)), run, run_stream)
        elif simple is not None:
            book.add(simple, None, stream)
        elif kind == "other":
            book.add(ev.FileUploaded("s", "f", "text/plain", 1, "00"), None, f"user/{scope}")
        elif kind == "forget":
            book.add(ev.ConversationDeleted("c"), None, f"conversation/{scope}u/{scope}{which % 2}")
        elif (personal := _of_user(kind, number, text, which, scope)) is not None:
            book.add(personal, None, f"user/{scope}u")
        elif (
            run is not None
            and (meeting := _of_meeting(kind, number, text, which) or _noted(kind, number)) is not None
        ):
            if run not in ended | children:  # a meeting says nothing behind its end, and is nobody's child
                spoken.add(run)
                book.add(meeting, run, run_stream)
        elif run is not None and not (kind == "merge" and run in spoken):
            ended |= {run} if kind in _ENDS else set()
            book.add(_of_run(kind, which, text), run, run_stream)
    return book


def _of_user(kind: str, number: int, text: str, which: int, scope: str) -> ev.Event | None:
    """In the stream of a user."""
    at = f"2026-02-0{which + 1}T09:00:00Z"
    match kind:
        case "upload":
            conversation = ("", f"{scope}{which % 2}")[which > 1]
            return ev.FileUploaded(f"s{number}", text, "text/plain", number, "00", conversation)
        case "notify":
            message = msgspec.Raw(msgspec.json.encode({"text": text, "n": number}))
            return ev.UserNotified(f"n{number}", message, ("message", "reminder")[which % 2])
        case "delivered":
            return ev.NotificationsDelivered(which * 4)
        case "remind":
            return ev.ReminderSet(f"r{which}", text, at, "", "UTC", ("", "assistant")[which % 2])
        case "fired":
            return ev.ReminderFired(f"r{which}", at, ("", "2026-03-01T00:00:00.5Z")[number % 2])
        case "unremind":
            return ev.ReminderCancelled(f"r{which}")
        case "use":
            return ev.KeyUsed(f"k{which}")
        case _:
            return None


def _in_conversation(kind: str, number: int, text: str, which: int) -> ev.Event | ev.UnknownEvent | None:
    match kind:
        case "user":
            return ev.MessageReceived(f"m{number}", text)
        case "import":
            role = ("user", "assistant", "tool", "system")[which]
            calls = (
                {"tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}]}
                if which == 1
                else {}
            )
            return ev.MessageImported(number, said(role, text, **calls))
        case "imported":
            fields = ('{"reward":1.0}', '{"reward":0}', "{}", '{"reward":"x"}')[which]
            return ev.ConversationImported("c", msgspec.Raw(fields.encode()))
        case "create":
            return ev.ConversationCreated("c", "alice")
        case "delete":
            return ev.ConversationDeleted("c")
        case "open":
            return ev.SessionOpened("c", "assistant", msgspec.Raw(b'{"a":1}'))
        case "close":
            return ev.SessionClosed("c")
        case "add":
            role = ("user", "assistant", "function", "developer")[which]
            return ev.MessageAdded(f"a{number}", said(role, text, name="f"))
        case "title":
            return ev.ConversationTitled(text)
        case "describe":
            return ev.SessionMetadataSet("c", msgspec.Raw(b'{"b":2}'))
        case "unknown":
            return ev.UnknownEvent("message.sung", '{"type":"message.sung","melody":[1]}')
        case _:
            return None


def _of_run(kind: str, step: int, text: str) -> ev.Event:
    match kind:
        case "claim":
            return ev.RunClaimed("w", 1)
        case "model":
            answer = ModelAnswer("m", text, "", (ToolCall("c", "f"),), Usage(1, 2))
            return ev.ModelAnswered(step, "k", answer, cost_usd=0.1, charged_to=CHARGED[step], bound=step > 0)
        case "think":
            return ev.ModelAnswered(step, "k", ModelAnswer("m", text, "hm"))
        case "call":
            return ev.ToolCalled(step, "k", "c", "f", text)
        case "return":
            return ev.ToolReturned(step, "k", "c", "f", text, (None, "broken")[step % 2], step * 100)
        case "answer":
            return ev.MessageAnswered("a", text or "-")
        case "interrupt":
            return ev.MessageInterrupted("a", text)
        case "complete":
            return ev.RunCompleted(1, 1, Usage(3, step), 1_000 * step, 0.25)
        case "fail":
            return ev.RunFailed(("broken", "timeout")[step % 2], text, 1, 0, Usage(1, 1), 70)
        case "cancel":
            return ev.RunCancelled("user:alice")
        case _:
            return _of_run_and_others(kind, step, text)


def _of_run_and_others(kind: str, step: int, text: str) -> ev.Event:
    match kind:
        case "ask" | "reply" | "expire":
            return _of_people(kind, step, text)
        case "attempt":
            usage = Usage(1, 0)
            charged = CHARGED[step], step > 0
            return ev.ModelAttemptFailed(step, "k", 1, "main", "m", "timeout", text, 3, usage, 0.5, *charged)
        case "phase":
            return ev.PhaseChanged("plan", "explore", text, step, "k")
        case "merge":
            return ev.RunMerged("t", "m")
        case "interject":
            return ev.SpeakerInterrupted("user:alice")
        case "confirm":
            return ev.ConfirmationRequested("x", step, "f", text, "", "00", START, "c")
        case "consent":
            return ev.ConfirmationAnswered("x", step > 1, "00", "user:alice")
        case "unsure":
            return ev.EffectUnknown(step, "k", "c", "f")
        case _:
            return ev.OperationStarted(f"o{step}", "f", text, "c", "{}", step)


def _of_meeting(kind: str, number: int, text: str, which: int) -> ev.Event | None:
    """`number` is the step: a run has each of them once."""
    cards = (ev.ExpertCard("ana", "Ana", is_moderator=True), ev.ExpertCard("bo", "Bo"))
    match kind:
        case "board":
            return ev.BoardStarted(text, cards, which, number)
        case "speak":
            return ev.ExpertSpoke("bo", text, which, interrupted=which == 3, step=number)
        case "sum":
            return ev.RoundSummarized("ana", text, which, step=number)
        case "conclude":
            return ev.BoardConcluded(text, text, which, (text,), (ev.Dissent(text, ("Bo",)),), step=number)
        case "minute":
            return ev.InterventionMinuted(text, which, number)
        case "form":
            return ev.TeamFormed(text, cards, "ana", number)
        case "plan":
            phases = tuple(ev.TeamPhase(f"p{one}", text, text, "bo") for one in range(which))
            return ev.PlanUpdated(phases, number)
        case "begin":
            return ev.PhaseStarted(f"p{which}", text, "bo", step=number)
        case "done":
            return ev.PhaseCompleted(f"p{which}", text, "bo", text, number)
        case "child":
            return ev.ChildStarted(number, "k", str(uuid5(NAMESPACE, f"child {number}")), "bo")
        case "told":
            return ev.ChildAnswered(text)
        case _:
            return None


def _noted(kind: str, number: int) -> ev.Event | None:
    if kind != "note":
        return None
    return msgspec.structs.replace(_NOTES[crc32(b"%d" % number) % len(_NOTES)], step=number)


def _of_people(kind: str, step: int, text: str) -> ev.Event:
    match kind, step % 2:
        case "ask", 0:
            return ev.HumanAsked(f"q{step}", step, text, START)
        case "ask", _:
            return ev.ConfirmationRequested(f"q{step}", step, "f", text, "why", "d", START)
        case "reply", 0:
            return ev.HumanAnswered(f"q{step}", text, "user:alice")
        case "reply", _:
            return ev.ConfirmationAnswered(f"q{step}", True, "d", "user:alice")
        case _, 0:
            return ev.HumanUnanswered(f"q{step}", "deadline")
        case _:
            return ev.ConfirmationExpired(f"q{step}", "deadline")


def shown_counts(cards: Iterable[Card]) -> Counter[tuple[str, str]]:
    """How many user and assistant messages a transcript shows, by conversation."""
    rows = {(card.owner, card.conversation_id, card.message_key): card for card in cards}
    return Counter(
        (card.owner, card.conversation_id)
        for card in rows.values()
        if card.shown_offset is not None
        and card.role in ("user", "assistant")
        and (card.message_key.count("/") < 2 or (*_place(card), card.message_key.rpartition("/")[0]) in rows)
    )


def _place(card: Card) -> tuple[str, str]:
    return card.owner, card.conversation_id
