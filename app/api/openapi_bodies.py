"""Answers in more than one form, and those that are written by hand: what the framework cannot see of them."""

from typing import Any

import msgspec

from app.api.feed import NDJSON, SSE, Resume
from app.api.feed_wire import FeedEvent
from app.api.minutes import MARKDOWN
from app.core.minutes import Minutes

REF = "#/components/schemas/{answer}.{{name}}"
Json = dict[str, Any]


class FeedPage(msgspec.Struct, frozen=True):
    """Events of a conversation behind a cursor; `cursor` is that of the last one."""

    cursor: str
    resume: Resume
    events: list[FeedEvent]


ANSWERS: dict[tuple[str, str], dict[str, type]] = {
    ("get", "/api/v1/conversations/{conversation_id}/minutes"): {"application/json": Minutes, MARKDOWN: str},
    ("get", "/api/v1/conversations/{conversation_id}/events"): {
        "application/json": FeedPage,
        NDJSON: str,
        SSE: str,
    },
}


def describe_answers(paths: Json, schemas: Json) -> None:
    """Write them into the document. Raises `KeyError` for a route that there is not."""
    for (method, path), forms in ANSWERS.items():
        content: Json = {}
        for media_type, answer in forms.items():
            reference = REF.format(answer=answer.__name__)
            (schema,), parts = msgspec.json.schema_components((answer,), ref_template=reference)
            schemas |= {f"{answer.__name__}.{name}": part for name, part in parts.items()}
            content[media_type] = {"schema": schema}
        paths[path][method]["responses"]["200"]["content"] = content
