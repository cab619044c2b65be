"""Tasks over REST (wire contract, section 3): their records, lists of them, and how to start one without a socket."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Response, Router, get, post
from litestar.exceptions import ClientException
from litestar.params import Parameter
from msgspec import Meta

from app.api.past import AsOfText, headers, moment_of, task_as_of
from app.api.portal import caught_up
from app.api.problems import problems
from app.api.requests import demand_task
from app.api.services import Services
from app.auth.principal import Principal
from app.core import streams
from app.core.events import UnknownEvent
from app.core.messages import storable
from app.core.texts import Locale, text
from app.runs.accept import Accepted
from app.runs.given import given_with
from app.runs.quotas import charge_of
from app.runs.record import read_events
from projections import past_reads, tasks
from projections.projection import fold_all
from projections.tasks import Status, TaskMetadata, TaskOutput
from projections.tasks_reads import STATES

LIST_MAX = 200
STATUS_CHARS_MAX = 200
OF_RECORD = frozenset({"message", "message_id", "sources"})
"""Keys of `input_data` that every record has; the others are the client's own."""

Name = Annotated[str, Meta(max_length=200)]


class StartBody(msgspec.Struct, frozen=True):
    """What is to be done, as `message` or as `input_data`: `{message, sources?}`, or whatever else the agent needs,
    which it is shown as JSON (at most 64 KiB). Without `conversation_id` a conversation is made. `metadata`, at most 16
    KiB as JSON, is kept in the record. `execution_mode` beats the agent's own mode. `client_message_id`: sent twice,
    started once.
    """

    message: str | None = None
    input_data: dict[str, Any] | str | None = None
    agent_name: Name | None = None
    skill_name: Name | None = None
    conversation_id: str | None = None
    model: str | None = None
    execution_mode: Annotated[str, Meta(max_length=80)] | None = None
    sources: tuple[str, ...] = ()
    client_message_id: str | None = None
    metadata: dict[str, Any] | None = None


class ShownTask(msgspec.Struct, frozen=True):
    """The task record. `status` is pending, running, waiting (for a person), completed, failed or cancelled.

    `metadata` is what the client gave with the task, `run` what the service knows of it. `first_offset` is where the
    task begins in its conversation, `last_offset` where it was when this record was made: read on behind it.
    """

    task_id: str
    conversation_id: str
    agent_name: str
    skill_name: str | None
    status: Status
    input_data: dict[str, Any]
    output_data: TaskOutput | None
    error_message: str | None
    progress: float
    progress_message: str | None
    metadata: dict[str, Any]
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    owner: str
    first_offset: int
    last_offset: int
    run: TaskMetadata


class TaskPage(msgspec.Struct, frozen=True):
    """Newest first. `next_cursor` is that of the next page; None: this is the last one."""

    tasks: list[ShownTask]
    next_cursor: str | None


class _Asked(msgspec.Struct, frozen=True):
    """What the agent is told, and what of `input_data` the record keeps besides."""

    message: str
    sources: tuple[str, ...]
    kept: dict[str, Any] | None = None


@get("/", summary="One's tasks, newest first")
async def list_tasks(
    services: Services,
    owner: str,
    status: Annotated[
        list[Annotated[str, Meta(max_length=STATUS_CHARS_MAX)]] | None,
        Parameter(description="one of the states; several with commas, or given several times"),
    ] = None,
    agent_name: Annotated[str | None, Parameter(max_length=200)] = None,
    conversation_id: str | None = None,
    limit: Annotated[int, Parameter(ge=1, le=LIST_MAX)] = 50,
    cursor: Annotated[str | None, Parameter(description="`next_cursor` of the page before")] = None,
    as_of: AsOfText = None,
) -> Response[TaskPage]:
    """Those that match all that is asked for. 400 for an unknown status or a cursor that cannot be read. With `as_of`
    those of one conversation (`conversation_id`), each as it was then."""
    wanted = _states(status or [], services.options.locale)
    owner = storable(owner)
    if conversation_id is not None:
        streams.conversation(owner, conversation_id)
    before = tasks.parse_cursor(cursor) if cursor else None
    agent = None if agent_name is None else storable(agent_name)
    moment = None
    if as_of is None:
        await caught_up(services)
        found = await tasks.list_by_owner(
            services.reads,
            owner,
            status=wanted,
            agent_name=agent,
            conversation_id=conversation_id,
            limit=limit + 1,
            before=before,
        )
    elif conversation_id is None:
        raise ClientException(text("as_of_alone", services.options.locale))
    else:
        moment = await moment_of(services, owner, conversation_id, as_of)
        found = await past_reads.tasks_at(
            services.reads, moment, status=wanted, agent_name=agent, limit=limit + 1, before=before
        )
    more = str(found[limit - 1].cursor) if len(found) > limit else None
    return Response(TaskPage([shown_task(row) for row in found[:limit]], more), headers=headers(moment))


@get("/{task_id:str}", summary="A task's record")
async def read_task(
    services: Services, principal: Principal, task_id: str, as_of: AsOfText = None
) -> Response[ShownTask]:
    """404 for a task that is unknown or somebody else's; admins and auditors see everybody's. With `as_of` as it was at
    a moment of its conversation, also where it was deleted since; 404 where it had not been requested yet."""
    if as_of is not None:
        task, moment = await task_as_of(services, principal, task_id, as_of)
        return Response(shown_task(task), headers=headers(moment))
    await caught_up(services)
    return Response(shown_task(await demand_task(services, principal, task_id)))


@post("/", status_code=201, responses=problems(404, 409, 429), summary="Start a task without a socket")
async def start_task(services: Services, principal: Principal, data: StartBody) -> ShownTask:
    """The record of the task, which goes on whether or not anybody watches (`/ws/tasks/{task_id}`). 404 for an unknown
    agent or skill; then nothing was written. With the same `client_message_id` again: the task of then."""
    asked = _asked(data, services.options.locale)
    accepted = await services.conversations.accept(
        principal.user_id,
        asked.message,
        data.conversation_id,
        model=data.model,
        skill_name=data.skill_name,
        sources=asked.sources,
        client_message_id=data.client_message_id,
        agent=data.agent_name,
        mode=data.execution_mode,
        given=given_with(data.metadata, asked.kept),
        charge=charge_of(principal),
    )
    services.runs.start(accepted)
    return shown_task(await _from_log(services, accepted))


def shown_task(row: tasks.Task) -> ShownTask:
    """The record as clients know it."""
    asked: dict[str, Any] = {"message": row.input_data.message, "message_id": row.input_data.message_id}
    if row.input_data.sources:
        asked["sources"] = row.input_data.sources
    return ShownTask(
        str(row.task_id),
        row.conversation_id,
        row.agent_name,
        row.skill_name,
        row.status,
        asked | row.input_data.given,
        row.output_data,
        row.error_message,
        row.progress,
        row.progress_message,
        row.client_metadata,
        row.created_at,
        row.started_at,
        row.completed_at,
        row.owner,
        row.first_offset,
        row.last_offset,
        row.metadata,
    )


async def _from_log(services: Services, accepted: Accepted) -> tasks.Task:
    """The record as the log has it, so that a late view does not make a task that was started look as if it was not."""
    key = (accepted.task_id,)
    found = await read_events(services.log.reader, accepted.stream, accepted.task_id)
    own = [
        (one, event)
        for one in found
        if not isinstance(event := one.event(), UnknownEvent) and tasks.PROJECTION.key_of(one, event) == key
    ]
    row = fold_all(tasks.PROJECTION, own).get(key)
    if row is None:
        raise LookupError(f"task {accepted.task_id} was accepted and is not in the log")
    return row


def _states(given: list[str], locale: Locale) -> list[Status]:
    """Raises 400 for one that is none, and names those that there are."""
    known: dict[str, Status] = {state: state for state in STATES}
    words = [word.strip() for one in given for word in one.split(",")]
    for word in words:
        if word not in known:
            shown = ", ".join(known)
            raise ClientException(text("task_status", locale, given=storable(word)[:40], known=shown))
    return [known[word] for word in dict.fromkeys(words)]


def _asked(body: StartBody, locale: Locale) -> _Asked:
    """Raises 400 where there is not exactly one of `message` and `input_data`, or a field is of the wrong kind."""
    if (body.message is None) == (body.input_data is None):
        raise ClientException(text("task_message", locale))
    if body.message is not None:
        return _Asked(body.message, body.sources)
    if not isinstance(body.input_data, dict):
        return _Asked(body.input_data or "", body.sources)
    message, sources = body.input_data.get("message", ""), body.input_data.get("sources", [])
    _demand_field("message", message, isinstance(message, str), "form_text", locale)
    _demand_field("sources", sources, _is_texts(sources), "form_texts", locale)
    own = {key: value for key, value in body.input_data.items() if key not in OF_RECORD}
    sources = (*body.sources, *sources)
    if not own:
        return _Asked(message, sources)
    # The agent is shown what the client calls its input, and the log has what the agent was shown.
    as_json = msgspec.json.format(msgspec.json.encode(own), indent=2).decode()
    kept = {**own, "message": message} if message else own
    return _Asked(f"{message}\n\n{as_json}" if message.strip() else as_json, sources, kept)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)  # pyright: ignore[reportUnknownVariableType]


def _demand_field(field: str, value: object, fits: bool, form: str, locale: Locale) -> None:
    if not fits:
        shown = msgspec.json.encode(value).decode()[:60]
        raise ClientException(text("task_input", locale, field=field, value=shown, form=text(form, locale)))


tasks_router = Router(
    path="/api/v1/tasks", route_handlers=[list_tasks, read_task, start_task], tags=["tasks"]
)
