"""`minutebook tail` and `minutebook replay ID`: the log as it comes, and as it came."""

import asyncio
import math
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import click

from app.commands.database import Database, no_conversation, run_with_log, stream_of
from app.core.envelope import Recorded
from app.log.log import Log
from app.log.read import PAGE_EVENTS_MAX
from app.transfer.exporting import event_line
from app.transfer.following import human_line, pauses

NEWEST_EVENTS = 10
HEARTBEAT_SECONDS = 1.0

Show = Callable[[Iterable[Recorded]], None]


class Speed(click.ParamType[float]):
    """How many times as fast as it happened."""

    name = "number"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            speed = float(str(value))
        except ValueError:
            speed = math.nan
        if math.isfinite(speed) and speed >= 0:
            return speed
        return self.fail(
            f"{value!r} is no speed; give a number such as 0.5, 1 or 1000, or 0 for all at once",
            param,
            ctx,
        )


@click.command("tail")
@click.option(
    "--conversation", "conversation_id", help="Only this conversation; --after is then an offset in it."
)
@click.option("--owner", help="Whose conversation it is.")
@click.option(
    "--after", type=click.IntRange(min=0), help="Begin behind this position. Without it: the newest 10."
)
@click.option("--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def tail_command(
    database: Database,
    conversation_id: str | None,
    owner: str | None,
    after: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Print events of the log, oldest first."""
    owner = owner or database.owner
    stream = stream_of(owner, conversation_id) if conversation_id is not None else None
    show = _shower(as_json)

    async def work(log: Log) -> None:
        if stream is None or conversation_id is None:
            await _tail_log(log, after, follow, show)
            return
        head = await log.reader.head(stream)
        if head == 0 and not follow:
            raise click.ClickException(no_conversation(owner, conversation_id))
        if head == 0:
            _say(f"{owner} has no conversation {conversation_id!r} yet; waiting for it")
        elif after is not None and after >= head:
            _say(f"There is nothing behind offset {after} yet: the conversation ends at {head}")
        await _tail_stream(log, stream, head, after, follow, show)

    _run(database, work)


@click.command("replay")
@click.argument("conversation_id")
@click.option(
    "--after", type=click.IntRange(min=0), default=0, show_default=True, help="Begin behind this offset."
)
@click.option(
    "--speed",
    type=Speed(),
    default=1.0,
    show_default=True,
    help="How many times as fast as it happened: 0.5, 1, 1000; 0: all at once.",
)
@click.option("--owner", help="Whose conversation it is.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def replay_command(
    database: Database, conversation_id: str, after: int, speed: float, owner: str | None, as_json: bool
) -> None:
    """Print the events of the conversation CONVERSATION_ID at the pace at which they happened."""
    owner = owner or database.owner
    stream = stream_of(owner, conversation_id)
    show = _shower(as_json)

    async def work(log: Log) -> None:
        head = await log.reader.head(stream)
        if head == 0:
            raise click.ClickException(no_conversation(owner, conversation_id))
        if after >= head:
            _say(f"There is nothing behind offset {after}: the conversation ends at {head}")
        last = None
        while after_page := await log.reader.stream(stream, after=last.offset if last else after):
            for seconds, recorded in pauses(after_page, speed, last.recorded_at if last else None):
                if seconds:
                    await asyncio.sleep(seconds)
                show([recorded])
            last = after_page[-1]
            if last.offset >= head:
                return

    _run(database, work)


def _say(text: str) -> None:
    click.echo(text, err=True)


def _shower(as_json: bool) -> Show:
    def show(page: Iterable[Recorded]) -> None:
        for recorded in page:
            line = event_line(recorded) if as_json else human_line(recorded).encode(errors="replace")
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    return show


def _run(database: Database, work: Callable[[Log], Awaitable[None]]) -> None:
    """Ctrl-C and a reader that has gone away (`| head`) are ends like any other."""
    try:
        run_with_log(database.dsn(), "follow", work)
    except BrokenPipeError:
        with suppress(OSError):  # what is still buffered has no reader either
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        pass


async def _tail_stream(log: Log, stream: str, head: int, after: int | None, follow: bool, show: Show) -> None:
    cursor = max(0, head - NEWEST_EVENTS) if after is None else after
    if not follow:
        async for recorded in log.reader.all_of(stream, after=cursor, until=head):
            show([recorded])
        return
    async with log.subscribe(stream, after=cursor, deltas=False) as subscription:
        while True:
            show((await subscription.next()).events)


async def _tail_log(log: Log, after: int | None, follow: bool, show: Show) -> None:
    """Each partition has positions of its own; `after` counts in each."""
    woken = asyncio.Event()
    log.wakeups.on_any(woken.set)
    heads = {partition: await log.reader.position(partition) for partition in range(log.partitions)}
    cursors = {
        partition: max(0, head - NEWEST_EVENTS) if after is None else after
        for partition, head in heads.items()
    }
    if after is not None and all(after >= head for head in heads.values()):
        _say(f"There is nothing behind position {after} yet: the log ends at {max(heads.values())}")
    while True:
        woken.clear()  # before reading: a wake-up during it must not be forgotten
        full = False
        for partition, cursor in cursors.items():
            page = await log.reader.partition(partition, after=cursor)
            show(page)
            full |= len(page) == PAGE_EVENTS_MAX
            cursors[partition] = page[-1].position if page else cursor
        if full:
            continue
        if not follow:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await woken.wait()
