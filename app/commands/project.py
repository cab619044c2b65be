"""`minutebook project status | rebuild | retry` and `minutebook check`: the views, and whether they are right."""

import asyncio
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.commands.database import Database, with_log
from app.core import streams
from app.core.envelope import NewEvent
from app.log.errors import LogError
from app.log.ids import new_id
from app.log.log import Log
from projections import ALL
from projections.building import BuildSuperseded
from projections.checking import Checked, check
from projections.checkpoints import ProjectionStatus, retry
from projections.lag import Lag, lags
from projections.pages import connect
from projections.runner import BuildFailed, ProjectionRunner
from projections.verdicts import Verdict, as_event, named, read_verdicts

BY_NAME = {projection.name: projection for projection in ALL}
NAMES = click.Choice(sorted(BY_NAME))


@click.group("project")
def project_group() -> None:
    """The views of the log: how far they are, and building them anew."""


class Standing(msgspec.Struct, frozen=True):
    """A line of `project status --json`: `lag`, and what the newest check on record has found (null: there is none)."""

    lag: Lag
    checked: Verdict | None

    @property
    def fine(self) -> bool:
        return not self.lag.problem and (self.checked is None or self.checked.fine)

    def fields(self) -> dict[str, object]:
        checked = None if self.checked is None else msgspec.to_builtins(self.checked)
        return {**msgspec.to_builtins(self.lag), "checked": checked}


@project_group.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def status_command(database: Database, as_json: bool) -> None:
    """How far each view is, in events and in seconds, which one has stopped, and what the newest check has found.

    Exits with 1 if a view has stopped, or was wrong when it was last checked on record.
    """
    dsn = database.dsn()
    checked = read_verdicts(dsn, ALL)
    found = [Standing(lag, checked.get(lag.name)) for lag in lags(dsn, ALL)]
    for one in found:
        click.echo(msgspec.json.encode(one.fields()).decode() if as_json else _line(one))
    if not all(one.fine for one in found):
        raise SystemExit(1)


def _line(one: Standing) -> str:
    lag = one.lag
    late = timedelta(seconds=round(lag.seconds))
    text = f"{lag.name:24} version {lag.version:<3} position {lag.position:<10} {lag.events} events, {late} behind"
    worker = "" if lag.worker is None else f", folded by backend {lag.worker}"
    stopped = f"  STOPPED: {lag.problem}" if lag.problem else ""
    return f"{text}{worker}{_last_check(one.checked)}{stopped}"


def _last_check(checked: Verdict | None) -> str:
    if checked is None:
        return ""
    at = f"{checked.checked_at:%Y-%m-%d %H:%M}Z"
    if checked.problem:
        return f"  NOT CHECKED on {at}: {checked.problem}"
    if checked.differences:
        return f"  WRONG in {checked.differences} rows on {at}"
    return f", right on {at}"


@project_group.command("rebuild")
@click.argument("name", type=NAMES)
@click.pass_obj
def rebuild_command(database: Database, name: str) -> None:
    """Fold the view NAME anew beside the live one, and put it in its place. The service may go on meanwhile."""
    with _progress(name) as progress:
        try:
            status = ProjectionRunner(database.dsn(), [BY_NAME[name]]).rebuild(name, progress)
        except (BuildFailed, BuildSuperseded) as error:
            raise click.ClickException(str(error)) from None
    click.echo(f"{name} is built anew, up to position {status.position}.")


@project_group.command("retry")
@click.argument("name", type=NAMES)
@click.pass_obj
def retry_command(database: Database, name: str) -> None:
    """Have the nodes that run try again with the event that stopped the view NAME."""
    with connect(database.dsn()) as connection:
        stopped = retry(connection, name)
    click.echo(f"{name} is tried again." if stopped else f"{name} has not stopped.")


@click.command("check")
@click.argument("names", nargs=-1, type=NAMES)
@click.option("--record", is_flag=True, help="Put the results on record, as events of the stream 'admin'.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def check_command(database: Database, names: tuple[str, ...], record: bool, as_json: bool) -> None:
    """Fold the views NAMES (none: all) anew and compare them row by row. Exits with 1 if a row is wrong.

    The service may go on meanwhile; nothing is changed. `minutebook project rebuild` repairs what is found.
    """
    dsn, found = database.dsn(), list[Checked]()
    for projection in [BY_NAME[name] for name in names] or ALL:
        with _progress(projection.name) as progress:
            found.append(check(dsn, projection, progress))
        click.echo(msgspec.json.encode(found[-1]).decode() if as_json else _verdict(found[-1]))
    if record:
        try:
            asyncio.run(_record(dsn, found))
        except LogError as error:
            raise click.ClickException(f"the results could not be put on record: {error}") from None
    if not all(one.fine for one in found):
        raise SystemExit(1)


def _verdict(checked: Checked) -> str:
    if checked.problem:
        return f"BAD  {checked.name}: {checked.problem}"
    if not checked.differences:
        return f"ok   {checked.name}: {checked.rows} rows at position {checked.position}"
    head = f"BAD  {checked.name}: {checked.differences} of {checked.rows} rows are not what the log says"
    more = checked.differences - len(checked.shown)
    rest = [f"       and {more} more"] if more else []
    return "\n".join([head, *(f"       {named(one)}" for one in checked.shown), *rest])


async def _record(dsn: str, found: Sequence[Checked]) -> None:
    async def work(log: Log) -> None:
        await log.append(streams.ADMIN, [NewEvent(new_id(), as_event(one)) for one in found])

    await with_log(dsn, "check", work)


@contextmanager
def _progress(name: str) -> Generator[Callable[[list[ProjectionStatus]], None]]:
    """A bar on a terminal, on standard error; nothing elsewhere."""
    console = Console(file=sys.stderr)
    if not console.is_terminal:
        yield lambda found: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=None)

        def tell(found: list[ProjectionStatus]) -> None:
            for one in found:
                bar.update(task, completed=one.position, total=one.log_position)

        yield tell
