"""The minutes of a conversation, as JSON or as Markdown."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.params import QueryParameter

from app.api.feed_wire import parse_filter
from app.api.past import AsOfText, moment_of
from app.api.past import headers as headers_of
from app.api.services import Services
from app.core import streams
from app.core.minutes_fold import MinutesFold
from app.core.minutes_markdown import markdown
from app.core.minutes_words import words_of
from app.core.texts import Locale, text

AnyRequest = Request[Any, Any, Any]
JSON = "application/json"
MARKDOWN = "text/markdown"
OFFSET_MAX = 2**62
FORMATS = {"json": JSON, "markdown": MARKDOWN}


@get("/{conversation_id:str}/minutes", summary="The minutes of a conversation, with proofs")
async def read_minutes(
    request: AnyRequest,
    services: Services,
    owner: str,
    conversation_id: str,
    form: Annotated[Literal["json", "markdown"] | None, QueryParameter(name="format")] = None,
    task: str | None = None,
    locale: Locale | None = None,
    as_of: AsOfText = None,
) -> Response[bytes]:
    """From the log, a page at a time, as it is now or was at `as_of`: also while a meeting is held. `format` beats the
    Accept header; `task` shows one turn or meeting, also by a member's task. 404 for what is not the owner's."""
    wanted = locale or services.options.locale
    shown = parse_filter(None, task, name="task").task_id
    moment = None if as_of is None else await moment_of(services, owner, conversation_id, as_of)
    until = OFFSET_MAX if moment is None else moment.offset
    fold = MinutesFold(conversation_id)
    stream = streams.conversation(owner, conversation_id)
    async for recorded in services.log.reader.all_of(stream, until=until):
        fold.add(recorded)
    minutes = fold.minutes()
    if minutes is None:
        raise NotFoundException(text("no_conversation", wanted, id=conversation_id[:80]))
    if shown is not None and (minutes := fold.minutes(str(shown))) is None:
        raise NotFoundException(text("no_task", wanted))
    media_type = FORMATS[form] if form else request.accept.best_match([JSON, MARKDOWN], JSON) or JSON
    if media_type == MARKDOWN:
        body = markdown(minutes, words_of(wanted)).encode(errors="replace")
    else:
        body = msgspec.json.encode(minutes)
    headers = {"Vary": "Accept", "X-Content-Type-Options": "nosniff", **headers_of(moment)}
    return Response(body, media_type=media_type, headers=headers)


minutes_router = Router(path="/api/v1/conversations", route_handlers=[read_minutes], tags=["minutes"])
