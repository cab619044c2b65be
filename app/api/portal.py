"""The portal over REST (wire contract, section 1)."""

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from litestar import Response, Router, delete, get, patch, post
from litestar.params import Parameter

from app.api.capabilities import Capability, capabilities
from app.api.past import AsOfText, headers, moment_of, no_conversation
from app.api.portal_wire import Ended
from app.api.problems import problems
from app.api.services import Services
from app.api.turns import follow
from app.api.views import VIEW_SECONDS_MAX
from app.api.views import caught_up as views_caught_up
from app.auth.principal import Principal
from app.core.events import QuotaInfo
from app.core.texts import Locale, text
from app.runs.accept import Accepted
from app.runs.quotas import charge_of
from app.runs.sessions import Sessions
from projections import conversations, past_reads, transcript

VIEWS = ("conversations", "transcript", "tasks", "sessions")
LIFTED = (
    "message_type",
    "expert_id",
    "expert_name",
    "expert_avatar",
    "expert_color",
    "board_round",
    "board_role",
    "board_conclusion",
    "board_started",
    "matched_skill",
    "confidence",
    "routing_method",
    "thinking",
    "tool_calls",
)
"""Keys that clients find at the top of a message as well as in its metadata."""


class ChatBody(msgspec.Struct, frozen=True):
    """A message. Without `conversation_id` a conversation is made. `client_message_id`: sent twice, taken once."""

    message: str
    conversation_id: str | None = None
    sources: tuple[str, ...] | None = None
    skill_name: str | None = None
    model: str | None = None
    client_message_id: str | None = None


class ChatAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """`status` is completed, failed, cancelled or steered (the task `merged_into` answers the message); `message` is
    the answer or one sentence about what went wrong. `fallback_status` and `error_struct` where the last tier of the
    fallback chain answered; `quota_info` where a quota that is used up has ended the task.
    """

    conversation_id: str
    message: str
    timestamp: datetime
    task_id: str
    status: str
    offset: int
    matched_skill: str | None = None
    routing_method: str | None = None
    confidence: float | None = None
    merged_into: str | None = None
    fallback_status: dict[str, Any] | None = None
    error_struct: dict[str, Any] | None = None
    quota_info: QuotaInfo | None = None


class Summary(msgspec.Struct, frozen=True):
    """A conversation in the list."""

    id: str
    title: str
    created_at: datetime
    updated_at: datetime
    message_count: int
    is_board: bool


class Detail(msgspec.Struct, frozen=True):
    """A conversation with its newest messages, oldest first. Read the feed on behind `offset`."""

    id: str
    title: str
    messages: list[dict[str, Any]]
    created_at: datetime
    updated_at: datetime
    is_board: bool
    message_count: int
    offset: int
    cursor: str


class TitleBody(msgspec.Struct, frozen=True):
    title: str


class Deleted(msgspec.Struct, frozen=True):
    deleted: bool
    id: str


async def accept(services: Services, principal: Principal, body: ChatBody) -> Accepted:
    """Take a message and start its task. Raises what `Conversations.accept` raises; then nothing was written."""
    accepted = await services.conversations.accept(
        principal.user_id,
        body.message,
        body.conversation_id,
        model=body.model,
        skill_name=body.skill_name,
        sources=body.sources or (),
        client_message_id=body.client_message_id,
        charge=charge_of(principal),
    )
    services.runs.start(accepted)
    return accepted


@post(
    "/chat",
    status_code=200,
    responses=problems(404, 409, 429),
    summary="Send a message and wait for the whole turn",
)
async def chat(services: Services, principal: Principal, data: ChatBody) -> ChatAnswer:
    accepted = await accept(services, principal, data)
    route = accepted.route
    async for shown in follow(services, accepted.stream, accepted.task_id, first_offset=accepted.offset):
        if isinstance(shown, Ended):
            await caught_up(services)
            return ChatAnswer(
                accepted.conversation_id,
                shown.message,
                shown.timestamp,
                str(accepted.task_id),
                shown.status,
                shown.offset,
                route.skill,
                route.method,
                route.confidence,
                shown.merged_into,
                shown.fallback and shown.fallback.fallback_status,
                shown.fallback and shown.fallback.error_struct,
                shown.quota_info,
            )
    return ChatAnswer(
        accepted.conversation_id,
        text("shutdown", services.options.locale),
        datetime.now(UTC),
        str(accepted.task_id),
        "running",
        accepted.offset,
    )


@get("/capabilities", summary="What this deployment can do")
async def read_capabilities(services: Services) -> dict[str, list[Capability]]:
    roster = services.conversations.roster
    await roster.refresh()
    found = capabilities(services.options.locale, skills=roster.skills.skills, tools=roster.toolbox.names)
    return {"capabilities": found}


@get("/conversations", summary="One's conversations, newest first")
async def list_conversations(
    services: Services, owner: str, limit: Annotated[int, Parameter(ge=1, le=200)] = 20
) -> list[Summary]:
    await caught_up(services)
    rows = await conversations.list_by_owner(services.reads, owner, limit=limit)
    locale = services.options.locale
    return [_summary(row, locale) for row in rows]


def _summary(row: conversations.Conversation, locale: Locale) -> Summary:
    return Summary(
        row.conversation_id,
        row.shown_title(locale),
        row.created_at,
        row.updated_at,
        row.message_count,
        row.is_board,
    )


@get("/conversations/{conversation_id:str}", summary="A conversation with its newest messages")
async def read_conversation(
    services: Services,
    owner: str,
    conversation_id: str,
    limit: Annotated[int, Parameter(ge=1, le=1000)] = 50,
    as_of: AsOfText = None,
) -> Response[Detail]:
    """With `as_of` also what was deleted since: the log keeps it. 400 for a moment that cannot be read or is to come,
    404 where the conversation was not there then."""
    if as_of is None:
        row = await _demand(services, owner, conversation_id)
        page = await transcript.page(services.reads, owner, conversation_id, limit=limit)
        return Response(_detail(services, row, page))
    moment = await moment_of(services, owner, conversation_id, as_of)
    row = await past_reads.conversation_at(services.reads, moment)
    if row is None:
        raise no_conversation(services, conversation_id)
    page = await past_reads.page_at(services.reads, moment, limit=limit)
    return Response(_detail(services, row, page), headers=headers(moment))


def _detail(services: Services, row: conversations.Conversation, page: transcript.Page) -> Detail:
    locale: Locale = services.options.locale
    return Detail(
        row.conversation_id,
        row.shown_title(locale),
        [shown_message(message) for message in page.messages],
        row.created_at,
        row.updated_at,
        row.is_board,
        row.message_count,
        page.head,
        f"{services.log.epoch}:{page.head}",
    )


@patch("/conversations/{conversation_id:str}", summary="Give a conversation a title")
async def change_conversation(
    services: Services, principal: Principal, conversation_id: str, data: TitleBody
) -> Summary:
    """At most 200 characters; blank: the title that the first message gives. It stays, whatever is said meanwhile."""
    await _demand(services, principal.user_id, conversation_id)
    sessions = Sessions(services.log, services.conversations.roster.find_agent)
    await sessions.change(principal.user_id, conversation_id, title=data.title)
    row = await _demand(services, principal.user_id, conversation_id)
    return _summary(row, services.options.locale)


async def _demand(services: Services, owner: str, conversation_id: str) -> conversations.Conversation:
    """The conversation as it is now. Raises 404."""
    await caught_up(services)
    row = await conversations.get(services.reads, owner, conversation_id)
    if row is None:
        raise no_conversation(services, conversation_id)
    return row


@delete(
    "/conversations/{conversation_id:str}", status_code=200, summary="Delete a conversation from the views"
)
async def delete_conversation(services: Services, principal: Principal, conversation_id: str) -> Deleted:
    """A deletion is an event: the views forget, the log keeps."""
    await _demand(services, principal.user_id, conversation_id)
    appended = await services.conversations.delete(principal.user_id, conversation_id)
    if appended is not None:
        await services.views.wait_for(appended.last_position, VIEW_SECONDS_MAX, *VIEWS)
    return Deleted(True, conversation_id)


async def caught_up(services: Services, *views: str) -> None:
    """Wait until the views (without any: those of conversations) show everything that is committed now, on whatever
    node: one reads one's own writes."""
    await views_caught_up(services.log, services.views, *(views or VIEWS))


def shown_message(message: transcript.Message) -> dict[str, Any]:
    """A message as clients know it, with the keys they look for lifted from its metadata."""
    metadata = message.metadata
    shown: dict[str, Any] = {
        "id": message.id,
        "role": message.role,
        "content": message.content,
        "timestamp": message.timestamp,
        "metadata": metadata,
    }
    return shown | {key: metadata[key] for key in LIFTED if key in metadata}


portal_router = Router(
    path="/api/v1/portal",
    route_handlers=[
        chat,
        read_capabilities,
        list_conversations,
        read_conversation,
        change_conversation,
        delete_conversation,
    ],
    tags=["portal"],
)
