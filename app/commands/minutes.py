"""`minutebook minutes ID`: what was asked, said and decided in a conversation, with the offsets that prove it."""

import sys
from typing import Literal
from uuid import UUID

import click
import msgspec

from app.commands.database import Deployment, no_conversation, run_with_log, stream_of
from app.core.minutes import Minutes
from app.core.minutes_fold import MinutesFold
from app.core.minutes_markdown import markdown
from app.core.minutes_words import words_of
from app.core.texts import Locale
from app.log.log import Log


@click.command("minutes")
@click.argument("conversation_id", metavar="ID")
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "json"]),
    default="markdown",
    show_default=True,
    help="markdown: to read. json: one JSON object.",
)
@click.option("--task", type=click.UUID, help="Only this turn or meeting; also by the task of a member.")
@click.option("--owner", help="Whose conversation it is.")
@click.option("--locale", type=click.Choice(["en", "zh"]), help="Language of the Markdown; as configured.")
@click.pass_obj
def minutes_command(
    deployment: Deployment,
    conversation_id: str,
    form: Literal["markdown", "json"],
    task: UUID | None,
    owner: str | None,
    locale: Locale | None,
) -> None:
    """Print the minutes of the conversation ID, from the log alone.

    A number in brackets is the offset of the event that proves the line; `minutebook replay ID` shows the events.
    """
    owner = owner or deployment.owner
    stream = stream_of(owner, conversation_id)
    fold = MinutesFold(conversation_id)

    async def work(log: Log) -> None:
        async for recorded in log.reader.all_of(stream):
            fold.add(recorded)

    run_with_log(deployment.dsn(), "minutes", work)
    if fold.minutes() is None:
        raise click.ClickException(no_conversation(owner, conversation_id))
    minutes = fold.minutes(None if task is None else str(task))
    if minutes is None:
        raise click.ClickException(f"There is no task {task} in the conversation {conversation_id!r}")
    sys.stdout.buffer.write(_shown(minutes, form, locale or deployment.settings.locale))
    sys.stdout.buffer.flush()


def _shown(minutes: Minutes, form: Literal["markdown", "json"], locale: Locale) -> bytes:
    if form == "json":
        return msgspec.json.encode(minutes) + b"\n"
    return markdown(minutes, words_of(locale)).encode(errors="replace")
