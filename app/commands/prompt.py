"""`minutebook prompt TASK`: what was sent to the model, from the log alone."""

import asyncio
import os
import sys
from collections.abc import Iterator
from typing import Literal
from uuid import UUID

import click
import msgspec

from app.commands.database import Database, with_log
from app.core.messages import ChatMessage, ModelRequest
from app.log.errors import LogError
from app.log.log import Log
from app.log.tasks import stream_of_task
from app.runs.prompts import Prompt, PromptError, SentTo, rebuild


@click.command("prompt")
@click.argument("task", type=click.UUID)
@click.option(
    "--step",
    type=click.IntRange(min=1),
    help="The step of the run, as its events count them. Without it: the last model call.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="text: to read. json: one JSON object, with everything that was sent.",
)
@click.pass_obj
def prompt_command(database: Database, task: UUID, step: int | None, form: Literal["text", "json"]) -> None:
    """Print what was sent to the model at a step of the task TASK.

    Nothing of it is stored: the run is replayed from the log up to the step, and the recorded digest of the request is
    compared. Any owner's task can be shown.
    """
    dsn = database.dsn()
    try:
        prompt = asyncio.run(_rebuild(dsn, task, step))
    except (LogError, PromptError) as error:
        raise click.ClickException(str(error)) from error
    shown = json_of(prompt) if form == "json" else "\n".join(lines_of(prompt)).encode(errors="replace")
    sys.stdout.buffer.write(shown + b"\n")
    sys.stdout.buffer.flush()


async def _rebuild(dsn: str, task: UUID, step: int | None) -> Prompt:
    stream = await stream_of_task(dsn, task, node_id=f"prompt-{os.getpid()}")
    if stream is None:
        raise PromptError(f"There is no task {task} in this log.")

    async def work(log: Log) -> Prompt:
        return await rebuild(log.reader, stream, task, step)

    return await with_log(dsn, "prompt", work)


def json_of(prompt: Prompt) -> bytes:
    return msgspec.json.encode(prompt)


def lines_of(prompt: Prompt) -> Iterator[str]:
    """For people: what it was, which models were asked, then the messages and tools as they were sent."""
    yield f"task      {prompt.task_id}, {prompt.mode}, step {prompt.step} (offset {prompt.offset})"
    yield f"stream    {prompt.stream}"
    yield f"model     {prompt.request.model or 'the configured one'}"
    for sent in prompt.attempts:
        yield f"attempt   {attempt_line(sent)}"
    behind = f" at offset {prompt.answer_offset}" if prompt.answer_offset is not None else ""
    yield f"outcome   {prompt.outcome}{behind}"
    yield from request_lines(prompt.request)


def attempt_line(sent: SentTo) -> str:
    model = f", {sent.model}" if sent.model else ""
    ended = f": {sent.error_class}, {sent.message}" if sent.error_class else ""
    return printable(f"{sent.attempt} ({sent.tier}{model}), {sent.duration_ms} ms{ended}")


def request_lines(request: ModelRequest) -> Iterator[str]:
    settings = {"temperature": request.temperature, "max_tokens": request.max_tokens}
    for name, value in settings.items():
        if value is not None:
            yield f"{name:<9} {value:g}"
    for message in request.messages:
        yield ""
        yield f"[{printable(head_of(message))}]"
        if message.content or message.refusal:
            yield printable(message.content or message.refusal or "")
        for call in message.tool_calls:
            yield printable(f"-> {call.name} {call.arguments} ({call.id})")
    if request.tools:
        yield ""
        yield "[tools]"
    for tool in request.tools:
        yield printable(f"{tool.name}: {tool.description}")
        yield "    " + printable(msgspec.json.encode(tool.parameters).decode())


def head_of(message: ChatMessage) -> str:
    return " ".join(filter(None, (message.role, message.name, message.tool_call_id)))


def printable(text: str) -> str:
    """Without what could steer a terminal; line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
