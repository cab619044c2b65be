"""`minutebook project status | rebuild | retry` and `minutebook check`: the views, and whether they are right."""

import asyncio
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from app.commands.transfer import Database
from app.core import streams
from app.core.admin_events import ProjectionChecked
from app.core.envelope import NewEvent
from app.core.ids import new_id
from app.log.errors import LogError
from app.log.log import open_log
from projections import ALL
from projections.building import BuildSuperseded
from projections.checking import Checked, Difference, check
from projections.checkpoints import ProjectionStatus, retry
from projections.lag import Lag, lags
from projections.pages import connect
from projections.runner import BuildFailed, ProjectionRunner

BY_NAME = {projection.name: projection for projection in ALL}
NAMES = click.Choice(sorted(BY_NAME))


@click.group("project")
def project_group() -> None:
    """The views of the log: how far they are, and building them anew."""


@project_group.command("status")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def status_command(database: Database, as_json: bool) -> None:
    """How far each view is, in events and in seconds, and which one has stopped. Exits with 1 if one has."""
    found = lags(database.dsn(), ALL)
    for one in found:
        click.echo(msgspec.json.encode(one).decode() if as_json else _line(one))
    if any(one.problem for one in found):
        raise SystemExit(1)


def _line(one: Lag) -> str:
    late = timedelta(seconds=round(one.seconds))
    text = f"{one.name:24} version {one.version:<3} position {one.position:<10} {one.events} events, {late} behind"
    worker = "" if one.worker is None else f", folded by backend {one.worker}"
    return f"{text}{worker}{f'  STOPPED: {one.problem}' if one.problem else ''}"


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


def named(one: Difference) -> str:
    """The row by its key, and what is wrong with it, in one line."""
    key = ", ".join(f"{column}={value}" for column, value in one.key.items())
    return f"{key}: {one.kind}" + (f" in {', '.join(one.columns)}" if one.columns else "")


def as_event(checked: Checked) -> ProjectionChecked:
    """The result as it is put on record."""
    return ProjectionChecked(
        checked.name,
        checked.version,
        checked.position,
        checked.rows,
        checked.differences,
        tuple(named(one) for one in checked.shown),
        checked.problem,
    )


async def _record(dsn: str, found: Sequence[Checked]) -> None:
    log = await open_log(dsn, node_id=f"check-{os.getpid()}")
    try:
        await log.append(streams.ADMIN, [NewEvent(new_id(), as_event(one)) for one in found])
    finally:
        await log.close()


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
