"""What commands that read the log have in common: where it is, how it is opened, and which conversation is meant."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

import click

from app.core import streams
from app.log.errors import LogError
from app.log.log import Log, open_log

if TYPE_CHECKING:
    from app.settings import Settings

Result = TypeVar("Result")


class Database(Protocol):
    """What the commands need of the context: where the log is, and whose conversations are meant by default."""

    owner: str

    def dsn(self) -> str: ...


class Deployment(Database, Protocol):
    """A database with settings: they name the language."""

    @property
    def settings(self) -> "Settings": ...


async def with_log(dsn: str, name: str, work: Callable[[Log], Awaitable[Result]]) -> Result:
    """Open the log for this work, and close it. `name` is the command's, as the log knows its node."""
    log = await open_log(dsn, node_id=f"{name}-{os.getpid()}")
    try:
        return await work(log)
    finally:
        await log.close()


def run_with_log(dsn: str, name: str, work: Callable[[Log], Awaitable[Result]]) -> Result:
    """As `with_log`, in an event loop of its own. A log that fails is an error of one line and exit code 1."""
    try:
        return asyncio.run(with_log(dsn, name, work))
    except LogError as error:
        raise click.ClickException(str(error)) from error


def stream_of(owner: str, conversation_id: str) -> str:
    """Raises `click.ClickException` where there can be no such conversation."""
    try:
        return streams.conversation(owner, conversation_id)
    except streams.InvalidConversationId as error:
        raise click.ClickException(str(error)) from error


def no_conversation(owner: str, conversation_id: str) -> str:
    return f"{owner} has no conversation {conversation_id!r}; --owner picks another owner"
