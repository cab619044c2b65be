"""`search`: what was said in the user's own conversations. The search itself comes in as a function."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated

from msgspec import Meta, Struct

from app.tools.tool import Tool, ToolContext, make_tool

CONTENT_CHARS_MAX = 500
LIMIT_MAX = 20


class Hit(Struct, frozen=True):
    """A message that was found, of which the tool shows at most 500 characters."""

    conversation_id: str
    role: str
    content: str
    recorded_at: datetime
    title: str = ""


Search = Callable[[str, str, int], Awaitable[Sequence[Hit]]]
"""Owner, query, and how many at most; best first. Finds nothing of other owners."""


class SearchArguments(Struct, frozen=True, forbid_unknown_fields=True):
    query: Annotated[str, Meta(description="Words to look for", min_length=1, max_length=500)]
    limit: Annotated[int, Meta(description="How many messages at most", ge=1, le=LIMIT_MAX)] = 5


def tool(search: Search) -> Tool:
    async def find(arguments: SearchArguments, context: ToolContext) -> str:
        hits = await search(context.owner, arguments.query, arguments.limit)
        if not hits:
            return f"Nothing was found for {arguments.query!r}. Try fewer or other words."
        return "\n".join(_line(number, hit, context) for number, hit in enumerate(hits, start=1))

    return make_tool(
        "search",
        "Finds messages in the user's own conversations, earlier ones and this one.",
        SearchArguments,
        find,
        effect="pure",
    )


def _line(number: int, hit: Hit, context: ToolContext) -> str:
    place = (
        "this conversation"
        if hit.conversation_id == context.conversation_id
        else (hit.title or hit.conversation_id)
    )
    content = " ".join(hit.content.split())
    if len(content) > CONTENT_CHARS_MAX:
        content = content[:CONTENT_CHARS_MAX] + "…"
    return f"{number}. [{hit.recorded_at:%Y-%m-%d %H:%M} UTC, {hit.role}, {place}] {content}"
