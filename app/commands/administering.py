"""What the commands `users`, `keys`, `departments` and `quotas` have in common: the directory, who did it, and how it
is shown."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

import click
import msgspec

from app.auth.administration import Administration
from app.auth.decisions import Decision, Refusal
from app.auth.directory import Directory
from app.auth.following import FollowedDirectory
from app.auth.principal import is_id
from app.commands.database import Deployment, run_with_log
from app.core.envelope import SYSTEM, user_actor
from app.log.log import Log

Result = TypeVar("Result")
USER_MARK = user_actor("")


def _author(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value == SYSTEM or (value.startswith(USER_MARK) and is_id(value.removeprefix(USER_MARK))):
        return value
    raise click.BadParameter(f"{value!r} is neither {SYSTEM} nor {USER_MARK}NAME")


author_option = click.option(
    "--as",
    "author",
    default=SYSTEM,
    show_default=True,
    callback=_author,
    help="Who is on record as having done it: system, or user:NAME.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")


def administer(deployment: Deployment, act: Callable[[Administration], Awaitable[Result]]) -> Result:
    """Do something with the directory of the database, also while the service runs. A refusal is one line and exit
    code 1."""
    settings = deployment.settings
    admins = frozenset(key.user for key in settings.api_keys if key.role == "admin")

    async def work(log: Log) -> Result:
        return await act(Administration(FollowedDirectory(log), settings_admins=admins))

    try:
        return run_with_log(deployment.dsn(), "admin", work)
    except Refusal as error:
        raise click.ClickException(error.sentence(settings.locale)) from error


def record(deployment: Deployment, decide: Callable[[Directory], Decision], author: str) -> Directory:
    """What is decided goes on record as the author's; the directory with it."""
    return administer(deployment, lambda administration: administration.change(decide, author))


def show(rows: Iterable[msgspec.Struct], columns: Sequence[str], *, as_json: bool) -> None:
    """A table with a line of column names, or a JSON array with all fields."""
    found = list(rows)
    if as_json:
        show_json(found)
        return
    lines = [list(columns)] + [[_shown(getattr(row, column)) for column in columns] for row in found]
    widths = [max(len(line[at]) for line in lines) for at in range(len(columns))]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def show_json(value: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
    sys.stdout.buffer.flush()


def _shown(value: Any) -> str:
    match value:
        case None | "" | ():
            return "-"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ",".join(str(one) for one in value)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        case float():
            return f"{value:.12g}"
        case _:
            return value.isoformat(sep=" ", timespec="seconds") if hasattr(value, "isoformat") else str(value)
