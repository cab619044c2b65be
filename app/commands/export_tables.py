"""`minutebook export experiences|events|usage --format parquet|csv|jsonl`: a table for analytics, in a folder."""

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import click
import psycopg
from rich.console import Console

from app.log.errors import LogError
from app.transfer.table_export import export_table
from app.transfer.table_parts import ExportRefused, Manifest
from app.transfer.table_reading import Span, ViewStopped
from app.transfer.tables import SUBJECTS
from projections.checkpoints import ProjectionStatus

PROGRESS_SECONDS = 5.0
TERMINAL_PROGRESS_SECONDS = 0.2


class Time(click.ParamType[datetime]):
    """A time as in ISO 8601; one without a zone is UTC."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            found = datetime.fromisoformat(str(value).strip())
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is not a time; write it like 2026-01-31, 2026-01-31T12:00 or "
                "2026-01-31T12:00+08:00 (UTC where no zone is given)",
                param,
                ctx,
            )


def export_to_folder(
    dsn: Callable[[], str],
    name: str,
    form: Literal["parquet", "csv", "jsonl"],
    since: datetime | None,
    until: datetime | None,
    output: Path | None,
) -> None:
    """Prints what was exported, and at which position. Raises `click.ClickException`."""
    if name not in SUBJECTS:
        subjects = ", ".join(SUBJECTS)
        raise click.UsageError(f"{name!r} cannot be exported as {form}: that is for {subjects}")
    if since is not None and until is not None and since >= until:
        raise click.UsageError(f"--since {since.isoformat()} is not before --until {until.isoformat()}")
    folder = output or Path(f"{name}-{form}")
    report = _Report()
    address = dsn()
    try:
        done = export_table(
            address,
            SUBJECTS[name],
            form,
            Span(since, until),
            folder,
            folding=report.folding,
            written=report.written,
        )
    except (ExportRefused, ViewStopped) as error:
        raise click.ClickException(str(error)) from None
    except LogError as error:
        raise click.ClickException(str(error)) from error
    except psycopg.Error as error:
        raise click.ClickException(
            f"the export was interrupted: {_first_line(error)}. Run the same command again to go on."
        ) from error
    except OSError as error:
        raise click.ClickException(
            f"{folder} cannot be written: {error.strerror}. Run the same command again to go on."
        ) from error
    except KeyboardInterrupt:
        click.echo("Stopped. Run the same command again to go on.", err=True)
        raise SystemExit(130) from None
    shown = f"{_count(done.manifest)} at {_place(done.manifest)}"
    if done.present:
        click.echo(
            f"{folder} holds this export already: {shown}. Remove it, or name another with --output, for a newer one."
        )
    else:
        before = done.manifest.rows - done.new_rows
        click.echo(f"{shown} exported to {folder}" + (f", {before} of them before." if before else "."))


def _first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


def _count(manifest: Manifest) -> str:
    files = "1 file" if manifest.parts == 1 else f"{manifest.parts} files"
    return f"{manifest.rows} rows of {manifest.subject} ({files})"


def _place(manifest: Manifest) -> str:
    if len(manifest.positions) == 1:
        return f"position {next(iter(manifest.positions.values()))}"
    return "positions " + ", ".join(f"{partition}: {at}" for partition, at in manifest.positions.items())


class _Report:
    """How far it is, on standard error: one line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self._terminal = Console(file=sys.stderr).is_terminal
        self._said_at = time.monotonic()

    def folding(self, found: list[ProjectionStatus]) -> None:
        for one in found:
            self._say(f"folding {one.name}: {one.position} of {one.log_position} events")

    def written(self, manifest: Manifest) -> None:
        self._say(f"exporting {manifest.subject}: {manifest.rows} rows, {manifest.parts} files")

    def _say(self, text: str) -> None:
        now = time.monotonic()
        if now - self._said_at < (TERMINAL_PROGRESS_SECONDS if self._terminal else PROGRESS_SECONDS):
            return
        self._said_at = now
        click.echo(f"\r\x1b[K{text}\r" if self._terminal else text, err=True, nl=not self._terminal)
