"""The scheduled check: due by what is on record, on one node, and over at once when the service stops."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from structlog.testing import capture_logs

from app.composition.checking import open_checks
from app.core import events as ev
from app.core.envelope import NewEvent
from app.core.streams import ADMIN
from app.log.errors import LeaseLost
from app.log.ids import new_id
from app.log.log import Log
from projections import conversations, tasks
from projections.gentle import GentleCheck
from projections.projection import AnyProjection
from projections.reads import ReadPool, read_pool
from projections.runner import ProjectionRunner
from projections.schedule import LEASE, LOOK_SECONDS_MAX, CheckSchedule
from projections.verdicts import Verdict, Verdicts, read_verdicts
from tests.support.logs import lock_waits, open_logs, session, until, within
from tests.support.projected import Book, requested, task, write

ONLY: tuple[AnyProjection, ...] = (conversations.PROJECTION, tasks.PROJECTION)
HOUR = timedelta(hours=1)


@pytest.fixture
def folded(dsn: str) -> str:
    """Folded; and one row of the tasks is gone. The tasks were checked long ago, by two releases."""
    book = Book()
    book.add(ev.MessageReceived("m", "question"))
    book.add(requested(), task(1))
    book.add(ev.RunCompleted(1), task(1))
    book.add(ev.ProjectionChecked("tasks", tasks.PROJECTION.version, 1, 1, 0), stream=ADMIN)
    book.add(ev.ProjectionChecked("conversations", 99, 1, 1, 0), stream=ADMIN)
    write(dsn, book.recorded)
    ProjectionRunner(dsn).run_to_end()
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM tasks")
    return dsn


@pytest.fixture
async def reads(folded: str) -> AsyncIterator[ReadPool]:
    async with read_pool(folded) as pool:
        yield pool


def schedule(
    log: Log,
    reads: ReadPool,
    dsn: str,
    projections: tuple[AnyProjection, ...] = ONLY,
    *,
    rest_times: float = 0.0,
    **options: float,
) -> CheckSchedule:
    """As a process that has just begun has it."""

    def prepare(one: AnyProjection) -> GentleCheck:
        return GentleCheck(dsn, one, rest_times=rest_times)

    return CheckSchedule(log, reads, projections, Verdicts(log, projections), HOUR, prepare, **options)


def recorded(dsn: str) -> list[tuple[str, int]]:
    """View and differences of every check since the two of long ago."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT payload FROM events WHERE type = 'projection.checked' ORDER BY position OFFSET 2"
        ).fetchall()
    return [(payload["name"], payload["differences"]) for (payload,) in rows]


def schemas(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname ~ 'minutebook_checking'"
        ).fetchall()
    return [name for (name,) in rows]


@contextmanager
def locked(dsn: str) -> Iterator[None]:
    """Whoever compares these views waits."""
    with psycopg.connect(dsn) as connection:
        connection.execute("LOCK TABLE tasks, conversations IN ACCESS EXCLUSIVE MODE")
        yield


async def test_what_is_due_is_checked_once_on_whatever_node_and_not_again_after_a_restart(
    folded: str, reads: ReadPool
) -> None:
    """Guards: the lease, and `_next_due` under it."""
    async with open_logs(folded, 3) as (*nodes, later):
        await within(asyncio.gather(*(schedule(log, reads, folded).look() for log in nodes)))
        assert sorted(recorded(folded)) == [("conversations", 0), ("tasks", 1)]
        assert await within(schedule(later, reads, folded).look()) == LOOK_SECONDS_MAX
    assert len(recorded(folded)) == 2
    assert not schemas(folded)
    found = read_verdicts(folded, ONLY)
    assert (found["tasks"].differences, found["tasks"].fine) == (1, False)
    assert found["conversations"].fine


async def test_a_check_that_cannot_be_made_says_so_and_holds_up_no_other(
    log: Log, reads: ReadPool, folded: str
) -> None:
    newer = msgspec.structs.replace(tasks.PROJECTION, version=77)
    with capture_logs() as lines, psycopg.connect(folded, autocommit=True) as busy:
        name = "minutebook_checking_conversations"
        busy.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (name,))
        checks = schedule(log, reads, folded, (newer, conversations.PROJECTION))
        await within(checks.look())
        busy.execute("SELECT pg_advisory_unlock_all()")
        assert await within(checks.look()) == LOOK_SECONDS_MAX  # left alone for a while
    errors = {line["view"]: line["error"] for line in lines if line["event"] == "view_not_checked"}
    assert errors == {
        "tasks": "NotNow: there is no table of tasks version 77",
        "conversations": "NotNow: another process is checking conversations",
    }
    assert recorded(folded) == []
    await within(schedule(log, reads, folded, (newer, conversations.PROJECTION)).look())
    assert recorded(folded) == [("conversations", 0)]


@pytest.mark.parametrize("place", ["at rest", "comparing"])
async def test_it_is_over_at_once_when_the_service_stops(
    log: Log, reads: ReadPool, folded: str, place: str
) -> None:
    """Nothing is left behind but that it is due. Guards: `tell`, and `_CANCEL`."""
    at_rest = place == "at rest"
    checks = schedule(log, reads, folded, (tasks.PROJECTION,), rest_times=1e9 if at_rest else 0.0)
    async with session(folded) as look:

        async def has_folded() -> bool:
            found = await look.fetchval("SELECT to_regclass('minutebook_checking_tasks.tasks') IS NOT NULL")
            return found and await look.fetchval("SELECT count(*) FROM minutebook_checking_tasks.tasks") == 1

        if at_rest:
            await checks.open()
            await until(has_folded)
            await within(checks.close())
        else:
            with locked(folded):
                await checks.open()
                await lock_waits(look)
                await within(checks.close())
                assert not schemas(folded)
    assert not schemas(folded)
    assert recorded(folded) == []
    async with open_logs(folded, 1) as (other,):
        assert await other.claim(LEASE, "other", HOUR), "the lease was not given back"


async def test_it_does_not_wait_for_what_else_has_to_end(log: Log, reads: ReadPool, folded: str) -> None:
    """Sockets and runs may take long. Guard: `stopping`."""
    stopping = asyncio.Event()
    async with AsyncExitStack() as stack, session(folded) as look:
        with locked(folded):
            await open_checks(stack, log, reads, folded, every_hours=1, stopping=stopping)
            await lock_waits(look)
            stopping.set()

            async def given_back() -> bool:
                return await look.fetchval("SELECT count(*) FROM leases") == 0

            await until(given_back)
            assert not schemas(folded)


@pytest.mark.parametrize("how", ["it was frozen", "it goes on"])
async def test_who_has_lost_the_lease_puts_nothing_on_record(
    log: Log, reads: ReadPool, folded: str, how: str
) -> None:
    """Guards: the append's lease, and the renewal."""
    lease_seconds = 600.0 if how == "it was frozen" else 0.3
    checks = schedule(log, reads, folded, (tasks.PROJECTION,), lease_seconds=lease_seconds)
    async with session(folded) as look:
        with locked(folded):
            looking = asyncio.create_task(checks.look())
            await lock_waits(look)
            await look.execute(
                "UPDATE leases SET worker = 'other', epoch = nextval('lease_epochs'), "
                "expires_at = now() + interval '1 hour' WHERE task_id = $1",
                LEASE,
            )
            if how == "it goes on":
                with pytest.raises(LeaseLost):
                    await within(looking)  # type: ignore[arg-type]
        if how == "it was frozen":
            with pytest.raises(LeaseLost):
                await within(looking)  # type: ignore[arg-type]
        assert await look.fetchval("SELECT worker FROM leases WHERE task_id = $1", LEASE) == "other"
    assert recorded(folded) == []
    assert await within(checks.look()) == LOOK_SECONDS_MAX, "another node has the lease"


async def test_every_node_hears_of_a_check_and_forgets_what_a_restored_database_never_knew(
    folded: str, dsn: str
) -> None:
    heard: asyncio.Queue[dict[str, Verdict]] = asyncio.Queue()
    async with open_logs(folded, 2) as (here, there):
        verdicts = Verdicts(here, ONLY, changed=heard.put_nowait)
        await verdicts.open()
        try:
            first: Any = await within(heard.get())
            assert [(one.name, one.differences) for one in first.values()] == [("tasks", 0)]
            event = ev.ProjectionChecked("tasks", tasks.PROJECTION.version, 5, 1, 3, ("x",), "why")
            await there.append(ADMIN, [NewEvent(new_id(), event)])
            second: Any = await within(heard.get())
            assert (second["tasks"].differences, second["tasks"].problem) == (3, "why")
            verdicts._offset = 99  # as if it had seen more than there is
            assert (await verdicts.caught_up())["tasks"].differences == 3
            verdicts.found = {"conversations": second["tasks"]}
            verdicts._offset = 99
            assert list(await verdicts.caught_up()) == ["tasks"]
        finally:
            await verdicts.close()
