"""Reminders over a real log and its views, with a clock that the test sets: each due time once, whoever looks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from app.composition.push import ReminderBook
from app.core import streams
from app.core.agent import Agent
from app.core.envelope import Recorded
from app.log.errors import LogUnavailable
from app.log.log import Log, open_log
from app.runs.refused import ConversationBusy
from app.runs.reminder_clock import ReminderClock
from app.runs.reminders import (
    OneTime,
    ReminderOver,
    Reminders,
    ReminderUnknown,
    TextEmpty,
    TextLong,
    TooManyReminders,
    Wanted,
)
from projections import reminders as view
from projections.reads import read_pool
from projections.runner import ProjectionRunner

START = datetime(2026, 3, 28, 12, 0, 30, tzinfo=UTC)
TEN = timedelta(minutes=10)


class Node:
    """One process: its log, its views, its clock; they share `time`, and `given` is what agents were given."""

    def __init__(
        self, log: Log, book: ReminderBook, time: list[datetime], given: list[tuple[str, str]]
    ) -> None:
        self.log = log
        self.given = given
        self.refuses: Exception | None = None
        self.reminders = Reminders(log, book, self.give, lambda name: Agent(name), now=lambda: time[0])
        self.clock = ReminderClock(self.reminders, book.due, book.next_due)
        self.book = book
        self.time = time

    async def give(self, due: view.Reminder, client_message_id: str) -> str:
        if self.refuses is not None:
            raise self.refuses
        self.given.append((due.agent_name, client_message_id))
        return "a task"

    async def fired(self, owner: str = "ana") -> list[dict[str, str]]:
        """The messages of reminders that the owner was sent."""
        events = await self.log.reader.stream(streams.user(owner))
        return [msgspec.json.decode(one.payload)["message"] for one in events if one.type == "user.notified"]

    async def later(self, by: timedelta) -> int:
        self.time[0] += by
        return await self.clock.look()


@pytest.fixture
async def nodes(dsn: str) -> AsyncIterator[tuple[Node, Node]]:
    time, given = [START], list[tuple[str, str]]()
    async with AsyncExitStack() as stack:
        made: list[Node] = []
        for name in ("one", "two"):
            log = await open_log(dsn, node_id=name)
            stack.push_async_callback(log.close)
            views = ProjectionRunner(dsn, [view.PROJECTION])
            await asyncio.to_thread(views.start)
            stack.push_async_callback(asyncio.to_thread, views.close)
            log.wakeups.on_any(views.wake)
            reads = await stack.enter_async_context(read_pool(dsn))
            made.append(Node(log, ReminderBook(log, views, reads), time, given))
        yield made[0], made[1]


def at(time: datetime) -> str:
    return time.isoformat()


async def test_a_time_that_is_due_is_sent_once_by_whichever_node_looks(nodes: tuple[Node, Node]) -> None:
    """Guard: the idempotency key of a due time, and the look at what is there; without them it is sent twice."""
    one, two = nodes
    reminder_id = await one.reminders.set("ana", Wanted("tea", at=at(START + TEN)))
    assert await one.clock.look() == 0
    one.time[0] += TEN
    assert sum(await asyncio.gather(*(node.clock.look() for node in (one, two, one, two)))) == 1
    assert await two.later(TEN) == 0
    due_at = "2026-03-28T12:10:30Z"
    assert await one.fired() == [{"reminder_id": reminder_id, "text": "tea", "due_at": due_at}]
    row = await two.book.get("ana", reminder_id)
    assert row is not None
    assert (row.status, row.times_fired, row.next_due) == ("fired", 1, None)


async def test_an_expression_goes_on_and_what_was_missed_is_sent_once(nodes: tuple[Node, Node]) -> None:
    """Down from the second time on for some days: one late reminder, then the next one in the future."""
    one, two = nodes
    await one.reminders.set("ana", Wanted("standup", cron="0 9 * * MON-FRI", time_zone="Europe/Berlin"))
    assert await one.later(timedelta(days=1, hours=19, minutes=30)) == 1
    assert await two.later(timedelta(days=4)) == 1
    assert await one.clock.look() == 0
    assert [one["due_at"] for one in await one.fired()] == ["2026-03-30T07:00:00Z", "2026-03-31T07:00:00Z"]
    assert await two.book.next_due(one.time[0]) == datetime(2026, 4, 6, 7, tzinfo=UTC)


async def test_what_is_cancelled_does_not_fire_and_what_has_fired_is_not_cancelled(
    nodes: tuple[Node, Node],
) -> None:
    one, two = nodes
    first = await one.reminders.set("ana", Wanted("a", at=at(START + TEN)))
    second = await one.reminders.set("ana", Wanted("b", at=at(START + 2 * TEN)))
    stale = await two.book.due(START + 2 * TEN, ())
    await two.reminders.cancel("ana", second)
    assert await one.later(TEN) == 1
    one.time[0] += TEN
    assert not any([await two.reminders.fire(due) for due in stale])  # a view that is late knows no better
    assert [message["text"] for message in await one.fired()] == ["a"]
    for reminder_id in (first, second):
        with pytest.raises(ReminderOver):
            await one.reminders.cancel("ana", reminder_id)
    for owner, reminder_id in (("bob", first), ("ana", "none")):
        with pytest.raises(ReminderUnknown):
            await one.reminders.cancel(owner, reminder_id)


async def test_firing_and_cancelling_at_once_is_one_of_the_two(nodes: tuple[Node, Node]) -> None:
    """Guard: the condition that nothing has come since the look."""
    one, two = nodes
    for number in range(10):
        owner = f"user-{number}"
        reminder_id = await one.reminders.set(owner, Wanted("x", at=at(one.time[0] + TEN)))
        (due,) = await one.book.due(one.time[0] + TEN, ())
        one.time[0] += TEN
        fired, cancelled = await asyncio.gather(
            one.reminders.fire(due), two.reminders.cancel(owner, reminder_id), return_exceptions=True
        )
        types = [event.type for event in await one.log.reader.stream(streams.user(owner))]
        if fired is True:
            assert isinstance(cancelled, ReminderOver)
            assert types == ["reminder.set", "reminder.fired", "user.notified"]
        else:
            assert types == ["reminder.set", "reminder.cancelled"]


async def test_a_schedule_gives_its_text_under_one_id_before_it_is_sent(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    reminder_id = await one.reminders.set(
        "ana", Wanted("sum up", cron="0 * * * *", agent_name="assistant", conversation_id="c1")
    )
    (due,) = await one.book.due(START + timedelta(hours=1), ())
    one.time[0] += timedelta(hours=1)
    await asyncio.gather(one.reminders.fire(due), two.reminders.fire(due))
    assert set(one.given) == {("assistant", f"reminder/{reminder_id}/2026-03-28T13:00:00Z")}
    (message,) = await one.fired()
    assert (message["task_id"], message["conversation_id"]) == ("a task", "c1")


async def test_a_refused_message_is_told_and_the_schedule_goes_on(nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    await one.reminders.set("ana", Wanted("sum up", cron="0 * * * *", agent_name="assistant"))
    one.refuses = ConversationBusy()
    assert await one.later(timedelta(hours=1)) == 1
    assert "is running" in (await one.fired())[0]["error"]
    one.refuses = None
    assert await one.later(timedelta(hours=1)) == 1
    assert "task_id" in (await one.fired())[1]


async def test_what_cannot_be_fired_now_does_not_hold_up_the_others(nodes: tuple[Node, Node]) -> None:
    one, two = nodes
    await one.reminders.set("ana", Wanted("sum up", at=at(START + TEN), agent_name="assistant"))
    await one.reminders.set("bob", Wanted("tea", at=at(START + TEN)))
    one.refuses = LogUnavailable("away")
    assert await one.later(TEN) == 1
    assert (await one.fired("bob"), await one.fired("ana")) != ([], [])
    assert await one.fired("ana") == []
    assert await two.clock.look() == 1
    assert len(await one.fired("ana")) == 1


async def test_the_clock_of_every_node_fires_what_comes_due(nodes: tuple[Node, Node]) -> None:
    """The running clocks: the test moves the time, and waits for the event."""
    one, two = nodes
    async with one.log.subscribe(streams.user("ana"), deltas=False) as reader, asyncio.timeout(30):
        one.time[0] = datetime.now(UTC)
        for node in nodes:
            node.log.wakeups.on_any(node.clock.stir)
            await node.clock.open()
        one.time[0] += TEN
        await two.reminders.set("ana", Wanted("soon", at=at(one.time[0] + timedelta(seconds=0.05))))
        one.time[0] += TEN
        two.clock.expect()
        seen: list[Recorded] = []
        while not any(recorded.type == "user.notified" for recorded in seen):
            seen += (await reader.next()).events
        for node in nodes:
            await node.clock.close()
    assert [recorded.type for recorded in seen] == ["reminder.set", "reminder.fired", "user.notified"]


async def test_limits_and_wrong_values_are_told_and_nothing_is_written(
    nodes: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = nodes
    soon = at(START + TEN)
    for wanted, error in (
        (Wanted("  ", at=soon), TextEmpty),
        (Wanted("x" * 4_001, at=soon), TextLong),
        (Wanted("x"), OneTime),
        (Wanted("x", at=soon, cron="* * * * *"), OneTime),
        (Wanted("x", at=soon, agent_name="a", conversation_id="a/b"), streams.InvalidConversationId),
    ):
        with pytest.raises(error):
            await one.reminders.set("ana", wanted)
    assert await one.log.reader.head(streams.user("ana")) == 0
    monkeypatch.setattr("app.runs.reminders.OPEN_MAX", 2)
    await one.reminders.set("ana", Wanted("1", at=soon))
    results = await asyncio.gather(
        *(node.reminders.set("ana", Wanted("2", at=soon)) for node in nodes), return_exceptions=True
    )
    assert sum(isinstance(result, TooManyReminders) for result in results) == 1
    await one.reminders.set("bob", Wanted("1", at=soon))


async def test_open_schedules_are_counted_by_agent(nodes: tuple[Node, Node]) -> None:
    one, _ = nodes
    for agent in ("a", "a", "b", None):
        await one.reminders.set("ana", Wanted("x", cron="0 0 1 1 *", agent_name=agent))
    over = await one.reminders.set("ana", Wanted("x", at=at(START + TEN), agent_name="b"))
    await one.reminders.cancel("ana", over)
    assert await view.schedules_by_agent(one.book._reads, "ana") == {"a": 2, "b": 1}
    assert await view.schedules_by_agent(one.book._reads, "bob") == {}
