"""The messages of a chat session over REST (wire contract, sections 2 and 7): sent, added, listed, and as OpenAI has
them."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import MediaType, Response, get, post
from litestar.exceptions import ClientException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import Parameter
from msgspec import Meta

from app.api.fallbacks import Fallback
from app.api.past import AsOfText, headers, moment_of
from app.api.portal import caught_up
from app.api.portal_wire import Ended
from app.api.problems import problems
from app.api.services import Services
from app.api.session_access import SessionMessage, accept, find_session
from app.api.turns import follow
from app.auth.principal import Principal
from app.core import streams
from app.core.events import QuotaInfo
from app.core.reasons import Reason
from app.core.texts import text
from app.runs.accept import Accepted
from app.runs.refused import MessageMalformed
from app.runs.sessions import SessionUnknown
from app.transfer.adding import MESSAGES_MAX, Added, add_messages
from app.transfer.openai_messages import OpenAIMessages
from projections import conversations, past_reads, transcript
from projections.sessions import Session

HISTORY_BYTES_MAX = 64 * 1024 * 1024

Role = Literal["developer", "system", "user", "assistant", "tool", "function"]
OF_OPENAI = ("name", "tool_call_id", "refusal", "tool_calls", "function_call")
OF_RUN = ("execution_mode", "model", "sources")


class PostedMessage(msgspec.Struct, frozen=True):
    """A message to a session. A user's is answered by the session's agent, unless `run` is false; one of any other role
    is added to the history, and no agent answers it. `content` is a string or a list of parts, as the OpenAI API has
    them. `execution_mode` beats the agent's own mode. `client_message_id` (or `client_id`): sent twice, taken once.
    """

    content: str | list[dict[str, Any]] | None = None
    role: Role = "user"
    run: bool | None = None
    name: str | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    function_call: dict[str, Any] | None = None
    execution_mode: Annotated[str, Meta(max_length=80)] | None = None
    model: str | None = None
    sources: tuple[str, ...] = ()
    client_message_id: str | None = None
    client_id: str | None = None


class AddedMessages(msgspec.Struct, frozen=True):
    """Messages in the OpenAI shape, added together or not at all. `client_message_id` (or `client_id`): sent twice,
    taken once."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=MESSAGES_MAX)]
    client_message_id: str | None = None
    client_id: str | None = None


class ShownMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A message of a session. `metadata` is that of the portal's messages."""

    message_id: str
    session_id: str
    role: str
    content: str
    created_at: datetime
    tool_call_id: str | None = None
    agent_name: str | None = None
    name: str | None = None
    refusal: str | None = None
    metadata: dict[str, Any] = {}


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The assistant's message. `status` is completed, failed, cancelled or steered; `content` is the answer or one
    sentence about what went wrong. `fallback_status` and `error_struct` where the last tier of the fallback chain
    answered; `quota_info` where a quota that is used up has ended the task."""

    message_id: str
    session_id: str
    role: str
    content: str
    agent_name: str
    created_at: datetime
    task_id: str
    status: str
    offset: int
    fallback_status: dict[str, Any] | None = None
    error_struct: dict[str, Any] | None = None
    merged_into: str | None = None
    quota_info: QuotaInfo | None = None


@get("/sessions/{session_id:str}/messages", summary="A session's messages, oldest first")
async def read_messages(
    services: Services,
    owner: str,
    session_id: str,
    limit: Annotated[int, Parameter(ge=1, le=1000)] = 50,
    offset: Annotated[int, Parameter(ge=0, le=2**31)] = 0,
    as_of: AsOfText = None,
) -> Response[list[ShownMessage]]:
    """With `as_of` also what was deleted since: the log keeps it. 400 for a moment that cannot be read or is to come,
    404 where the session was not there then."""
    if as_of is None:
        session = await find_session(services, owner, session_id)
        found = await transcript.listed(services.reads, owner, session_id, limit=limit, offset=offset)
        return Response([_message(session_id, session.agent_name, one) for one in found])
    moment = await moment_of(services, owner, session_id, as_of)
    agent = await past_reads.agent_at(services.reads, moment)
    if agent is None:
        raise SessionUnknown(id=session_id[:80])
    found = await past_reads.listed_at(services.reads, moment, limit=limit, offset=offset)
    return Response([_message(session_id, agent, one) for one in found], headers=headers(moment))


@post(
    "/sessions/{session_id:str}/messages",
    status_code=200,
    summary="Send a message and wait for the answer, or add one to the history",
    responses={
        201: ResponseSpec(ShownMessage, description="The message was added; no agent answers it"),
        **problems(409, 429),
    },
)
async def send_message(
    services: Services, principal: Principal, session_id: str, data: PostedMessage
) -> Response[Answer]:
    """404 for an unknown session or agent, 400 where it is closed. Questions that the task asks meanwhile are answered
    over a socket or `POST /tasks/{task_id}/reply`. A message that is only added is answered with itself, and 201."""
    if data.role != "user" or data.run is False:
        (shown,), added = await _add(services, principal, session_id, [_openai(data)], _client_id(data))
        return Response(shown, status_code=200 if added.duplicate else 201)  # pyright: ignore[reportReturnType]
    session, accepted = await accept(services, principal, session_id, _to_agent(data))
    async for shown in follow(services, accepted.stream, accepted.task_id, first_offset=accepted.offset):
        if isinstance(shown, Ended):
            await caught_up(services)
            return Response(_answer(session, accepted, shown))
    stopped = text("shutdown", services.options.locale)
    ended = Ended("running", stopped, datetime.now(UTC), accepted.offset)
    return Response(_answer(session, accepted, ended))


@post(
    "/sessions/{session_id:str}/openai-messages",
    status_code=201,
    summary="Add messages in the OpenAI shape to the history, all of them or none",
)
async def add_openai_messages(
    services: Services, principal: Principal, session_id: str, data: AddedMessages
) -> list[ShownMessage]:
    """No agent answers them; they are part of what it is shown from now on. The result of a tool (`tool_call_id`) needs
    an assistant's message with that call before it. At most 200 messages at once."""
    messages = [msgspec.Raw(msgspec.json.encode(message)) for message in data.messages]
    shown, _ = await _add(services, principal, session_id, messages, _client_id(data))
    return shown


@get(
    "/sessions/{session_id:str}/openai-messages",
    summary="The whole session as the openai client takes it for messages",
)
async def read_openai_messages(
    services: Services, owner: str, session_id: str, as_of: AsOfText = None
) -> Response[list[dict[str, Any]]]:
    """Every tool call with its result right behind it, also where there is none yet. Of any other conversation, an
    imported one above all, too. At most 64 MiB. `as_of` as for the session's messages."""
    moment = None if as_of is None else await moment_of(services, owner, session_id, as_of)
    if moment is None:
        await caught_up(services)
        known = await conversations.get(services.reads, owner, session_id)
    else:
        known = await past_reads.conversation_at(services.reads, moment)
    if known is None:
        raise SessionUnknown(id=session_id[:80])
    folded, size_bytes = OpenAIMessages(), 0
    until = 2**62 if moment is None else moment.offset
    async for recorded in services.log.reader.all_of(streams.conversation(owner, session_id), until=until):
        size_bytes += (
            len(recorded.payload) if recorded.type.startswith(("message.", "model.", "tool.")) else 0
        )
        if size_bytes > HISTORY_BYTES_MAX:
            raise ClientException(
                text("history_too_long", services.options.locale, limit=HISTORY_BYTES_MAX), status_code=413
            )
        folded.add(recorded)
    body = msgspec.json.encode(folded.messages())
    return Response(body, media_type=MediaType.JSON, headers=headers(moment))  # pyright: ignore[reportReturnType]


async def _add(
    services: Services,
    principal: Principal,
    session_id: str,
    messages: list[msgspec.Raw],
    client_id: str | None,
) -> tuple[list[ShownMessage], Added]:
    session = await find_session(services, principal.user_id, session_id)
    added = await add_messages(services.log, principal.user_id, session_id, messages, client_id=client_id)
    await caught_up(services)
    found = await transcript.added(services.reads, principal.user_id, session_id, added.message_ids)
    return [_message(session_id, session.agent_name, one) for one in found], added


def _client_id(data: PostedMessage | AddedMessages) -> str | None:
    """The client's own id, by whichever of its two names. Raises `MessageMalformed`."""
    one, other = data.client_message_id, data.client_id
    if one is not None and other is not None and one != other:
        differ = Reason("client_ids_differ", {"one": other[:80], "other": one[:80]})
        raise MessageMalformed(field="client_id", reason=differ)
    return other if one is None else one


def _openai(data: PostedMessage) -> msgspec.Raw:
    """The message as it is kept. Raises `MessageMalformed`."""
    if data.run:
        raise MessageMalformed(field="run", reason=Reason("run_of_user"))
    if wrong := next((key for key in OF_RUN if getattr(data, key)), None):
        raise MessageMalformed(field=wrong, reason=Reason("only_answered"))
    fields: dict[str, Any] = {"role": data.role, "content": data.content}
    fields |= {key: value for key in OF_OPENAI if (value := getattr(data, key)) is not None}
    return msgspec.Raw(msgspec.json.encode(fields))


def _to_agent(data: PostedMessage) -> SessionMessage:
    """The message as it goes to the agent. Raises `MessageMalformed`."""
    if wrong := next((key for key in OF_OPENAI if getattr(data, key) is not None), None):
        raise MessageMalformed(field=wrong, reason=Reason("only_kept"))
    return SessionMessage(
        _text(data.content),
        "user",
        data.execution_mode,
        data.model,
        data.sources,
        _client_id(data),
    )


def _text(content: str | list[dict[str, Any]] | None) -> str:
    """What an agent is asked is text. Raises `MessageMalformed`."""
    if isinstance(content, str):
        return content
    texts = [part.get("text") if part.get("type") == "text" else None for part in content or ()]
    if content is None or not all(isinstance(one, str) for one in texts):
        raise MessageMalformed(field="content", reason=Reason("only_text"))
    return "\n".join(map(str, texts))


def _answer(session: Session, accepted: Accepted, ended: Ended) -> Answer:
    fallback = ended.fallback or Fallback({}, {})
    return Answer(
        ended.message_id or str(accepted.task_id),
        session.session_id,
        "assistant",
        ended.message,
        session.agent_name,
        ended.timestamp,
        str(accepted.task_id),
        ended.status,
        ended.offset,
        fallback.fallback_status or None,
        fallback.error_struct or None,
        ended.merged_into,
        ended.quota_info,
    )


def _message(session_id: str, agent_name: str, message: transcript.Message) -> ShownMessage:
    metadata = message.metadata
    by_agent = message.role == "assistant" and "task_id" in metadata
    return ShownMessage(
        message.id,
        session_id,
        message.role,
        message.content,
        message.timestamp,
        metadata.get("tool_call_id"),
        metadata.get("agent") or (agent_name if by_agent else None),
        metadata.get("name"),
        metadata.get("refusal"),
        metadata,
    )
