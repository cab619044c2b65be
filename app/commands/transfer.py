"""`minutebook import FILE` and `minutebook export ID`; tables are exported by `export_tables.py`."""

import asyncio
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Literal

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from app.commands.database import Database, no_conversation, run_with_log, stream_of, with_log
from app.commands.export_tables import Time, export_to_folder
from app.log.errors import LogUnavailable
from app.log.log import Log
from app.transfer.exporting import OpenAIExport, event_line
from app.transfer.importing import LineResult, Summary, import_file
from app.transfer.tables import SUBJECTS

PLAIN_PROGRESS_SECONDS = 5.0
ERRORS_SHOWN_MAX = 100


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--owner", help="Whose the conversations will be.")
@click.pass_obj
def import_command(database: Database, file: Path, owner: str | None) -> None:
    """Import conversations in the OpenAI message shape from FILE.

    FILE has one conversation a line: {"id": ..., "messages": [...]}; other fields are kept. What was imported before is
    not imported again, so a run that was stopped can simply be started again. Exits with 1 if a line was not imported.
    """
    dsn = database.dsn()
    with file.open("rb") as opened, _Report(opened) as report:

        async def work(log: Log) -> Summary:
            return await import_file(log, opened, owner or database.owner, report.line)

        try:
            summary = asyncio.run(with_log(dsn, "import", work))
        except LogUnavailable as error:
            raise click.ClickException(f"{error}. Run the same command again to go on.") from error
        except KeyboardInterrupt:
            report.say("Stopped. Run the same command again to go on.")
            raise SystemExit(130) from None
    _print_summary(summary)
    if summary.failed:
        raise SystemExit(1)


@click.command("export")
@click.argument("what", metavar="CONVERSATION_ID|experiences|events|usage")
@click.option(
    "--format",
    "form",
    type=click.Choice(["openai", "events", "parquet", "csv", "jsonl"]),
    default="openai",
    show_default=True,
    help="Of a conversation: openai (one line as import takes it), events (the log, one event a line). "
    "Of a table: parquet, csv, jsonl.",
)
@click.option("--owner", help="Whose conversation it is.")
@click.option("--since", type=Time(), help="Of a table: rows from this time on (ISO 8601, UTC).")
@click.option("--until", type=Time(), help="Of a table: rows before this time.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="A file instead of standard output; of a table a folder, instead of ./experiences-parquet and the like.",
)
@click.pass_obj
def export_command(
    database: Database,
    what: str,
    form: Literal["openai", "events", "parquet", "csv", "jsonl"],
    owner: str | None,
    since: datetime | None,
    until: datetime | None,
    output: Path | None,
) -> None:
    """Export a conversation from the log, or experiences, events or usage as a table.

    A table goes into a folder of files that are read as one, all at one position of the log. The same command goes on
    with an export that was stopped. docs/analytics.md shows what to do with it.
    """
    if form not in ("openai", "events"):
        if owner is not None:
            raise click.UsageError(f"--owner is for conversations; --format {form} exports all of a table")
        export_to_folder(database.dsn, what, form, since, until, output)
    elif since is not None or until is not None:
        raise click.UsageError("--since and --until are for tables: --format parquet, csv or jsonl")
    else:
        _export_conversation(database, what, form, owner, output)


def _export_conversation(
    database: Database,
    conversation_id: str,
    form: Literal["openai", "events"],
    owner: str | None,
    output: Path | None,
) -> None:
    if output is not None and output.is_dir():
        raise click.ClickException(f"{output} is a folder; name a file")
    owner = owner or database.owner
    stream = stream_of(owner, conversation_id)
    dsn = database.dsn()
    missing = no_conversation(owner, conversation_id)
    if conversation_id in SUBJECTS:
        missing += f", --format parquet (csv, jsonl) exports {conversation_id} as a table"
    if output is None:
        written = _export(dsn, stream, conversation_id, form, sys.stdout.buffer)
    else:
        written = _export_to_file(dsn, stream, conversation_id, form, output)
    if not written:
        raise click.ClickException(
            missing if form == "events" else f"{missing}, --format events shows a deleted one"
        )


def _export_to_file(dsn: str, stream: str, conversation_id: str, form: str, output: Path) -> bool:
    """Beside it first, so that a failed export leaves no half file under this name."""
    # A device or a pipe is written as it is: a file in its place would not be what was meant.
    direct = output.exists() and not output.is_file()
    unfinished = output if direct else output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        try:
            with unfinished.open("wb") as file:
                written = _export(dsn, stream, conversation_id, form, file)
            if written and not direct:
                unfinished.replace(output)
        finally:
            if not direct:
                unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise click.ClickException(f"{output} cannot be written: {error.strerror}") from error
    return written


def _export(dsn: str, stream: str, conversation_id: str, form: str, out: BinaryIO) -> bool:
    """False if there is nothing to export."""

    async def work(log: Log) -> bool:
        export = OpenAIExport(conversation_id)
        written = False
        async for recorded in log.reader.all_of(stream):
            if form == "events":
                out.write(event_line(recorded) + b"\n")
                written = True
            else:
                export.add(recorded)
        if form == "openai" and not export.empty:
            out.write(export.line() + b"\n")
            written = True
        out.flush()
        return written

    return run_with_log(dsn, "export", work)


def _print_summary(summary: Summary) -> None:
    click.echo(
        f"{summary.imported} conversations imported ({summary.messages} messages), "
        f"{summary.present} were there already, {summary.failed} failed."
    )
    if summary.failed:
        click.echo("Correct the lines named above and run the same command again.", err=True)


class _Report:
    """Progress by bytes of the file on standard error: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, file: BinaryIO) -> None:
        self._total_bytes = os.fstat(file.fileno()).st_size
        self._done_bytes = 0
        self._errors = 0
        self._said_at = time.monotonic()
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("importing"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("importing", total=self._total_bytes)

    def __enter__(self) -> "_Report":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        if self._console.is_terminal:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(text, err=True)

    def line(self, result: LineResult) -> None:
        self._done_bytes += result.size_bytes
        self._bar.update(self._task, completed=self._done_bytes)
        if result.outcome == "failed":
            self._errors += 1
            if self._errors <= ERRORS_SHOWN_MAX:
                self.say(f"line {result.line}: {result.error}")
            elif self._errors == ERRORS_SHOWN_MAX + 1:
                self.say(f"more than {ERRORS_SHOWN_MAX} lines failed; the others are only counted")
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said_at >= PLAIN_PROGRESS_SECONDS:
            self._said_at = now
            self.say(f"{self._done_bytes} of {self._total_bytes} bytes")
