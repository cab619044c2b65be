"""The AsyncAPI 3.0 document of all sockets, made of the frame types that their code takes (`KINDS`) and describes
(`sent_frames.py`, `meeting_frames.py`). Served at `/schema/asyncapi.json` and `.yaml`.

Source of its form: AsyncAPI Specification 3.0.0.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec
from litestar import Response, get

from app import release
from app.api import chat_socket, evolution_socket, feed_socket, portal_socket, task_socket
from app.api import sent_frames as sent
from app.api.meeting_frames import MEETING_DATA
from app.api.sockets import Auth

REF = "#/components/schemas/{name}"
Document = dict[str, Any]
Frames = Mapping[str, type[msgspec.Struct]]
_PARAMETER = re.compile(r"\{(\w+)\}")


class Surface(msgspec.Struct, frozen=True):
    """A socket: what it takes and sends, by the frame's type. `query` are the parameters of its address, with what they
    mean; `meetings`: boards and teams have frames of their own on it."""

    name: str
    address: str
    about: str
    takes: Frames
    sends: Frames
    query: Mapping[str, str] = {}
    meetings: bool = False


AFTER = "an offset, or a cursor (`epoch:offset`): only what comes behind it"
NOTIFIED = "the offset of the last notification that the client has had"
SURFACES: Sequence[Surface] = (
    Surface(
        "portal",
        "/api/v1/portal/ws",
        "Conversations: a message in, its turn out, step by step. A dropped socket never stops a task.",
        portal_socket.KINDS,
        {
            "connected": sent.PortalConnected,
            "routing": sent.Routing,
            "step": sent.StepTold,
            "result": sent.Result,
            "error": sent.Error,
            "pong": sent.Pong,
            "notification": sent.Notification,
        },
        {"notifications_after": NOTIFIED},
        meetings=True,
    ),
    Surface(
        "chat",
        "/api/v1/chat/ws/{session_id}",
        "A session bound to an agent: every task of the session, whoever has started it.",
        chat_socket.KINDS,
        {
            "connected": sent.ChatConnected,
            "skill_match": sent.SkillMatch,
            "token": sent.Token,
            "thinking": sent.Thinking,
            "step": sent.StepTold,
            "ask_human": sent.AskHuman,
            "final_answer": sent.FinalAnswer,
            "confirmation_request": sent.ConfirmationRequest,
            "confirmation_result": sent.ConfirmationResult,
            "phase_changed": sent.PhaseChanged,
            "phase_violation": sent.PhaseViolation,
            "result": sent.Result,
            "error": sent.Error,
            "pong": sent.Pong,
            "notification": sent.Notification,
        },
        {
            "after": AFTER,
            "drafts": "also what a model writes before it is known whether it is the answer",
            "owner": "whose session, for admins and auditors",
            "notifications_after": NOTIFIED,
        },
        meetings=True,
    ),
    Surface(
        "task",
        "/api/v1/ws/tasks/{task_id}",
        "One task, for any number of watchers; each is told everything once. Boards and teams come as steps.",
        task_socket.KINDS,
        {
            "connected": sent.TaskConnected,
            "step": sent.StepTold,
            "result": sent.TaskResult,
            "error": sent.Error,
            "pong": sent.Pong,
        },
        {"after": AFTER},
    ),
    Surface(
        "feed",
        "/api/v1/conversations/{conversation_id}/feed",
        "The events of a conversation as the log has them: what was missed, then live.",
        feed_socket.KINDS,
        {
            "resumed": sent.FeedResumed,
            "events": sent.FeedEvents,
            "delta": sent.FeedDelta,
            "heartbeat": sent.FeedHeartbeat,
            "error": sent.Error,
            "pong": sent.Pong,
        },
        {
            "after": AFTER,
            "batch": "at most so many events a frame",
            "types": "only these types of events, with commas",
            "task_id": "only events of this task",
            "owner": "whose conversation, for admins and auditors",
        },
    ),
    Surface(
        "evolution",
        "/api/v1/evolution/ws",
        "Experiences as tasks end, each once, and word that metrics have changed.",
        evolution_socket.KINDS,
        {
            "connected": sent.EvolutionConnected,
            "experience_added": sent.ExperienceAdded,
            "metrics_updated": sent.MetricsUpdated,
            "error": sent.Error,
            "pong": sent.Pong,
        },
        {
            "after": "the `cursor` of a frame: what has ended behind it comes first",
            "owner": "whose experiences, for admins and auditors; by default all that one may see",
        },
    ),
)
RULES = """A socket shows its key when it connects (`X-API-Key`, `api_key=`, `Authorization: Bearer`, `token=`), or in
its first frame, `auth`. A frame that cannot be used is answered with `error` and does no harm.

| closed with | because |
|---|---|
| 1000 | nothing was heard for the heartbeat's time |
| 1008 | a 17th socket of the user came, frames came too fast for too long, or an `as_of` was asked for |
| 1012 | the server stops, or cannot go on: connect again |
| 1013 | too many sockets wait to be authenticated: connect later |
| 4001 | the key or token is missing, wrong, or no longer valid |
| 4004 | there is no such session or task, or it is somebody else's |"""


@get("/schema/asyncapi.json", include_in_schema=False, sync_to_thread=False)
def asyncapi_json() -> Response[bytes]:
    """The document as JSON."""
    return Response(_encoded(), media_type="application/json")


@get("/schema/asyncapi.yaml", include_in_schema=False, sync_to_thread=False)
def asyncapi_yaml() -> Response[bytes]:
    """The same as YAML."""
    return Response(msgspec.yaml.encode(document()), media_type="application/yaml")


@lru_cache(maxsize=1)
def _encoded() -> bytes:
    return msgspec.json.encode(_in_order(_made()))


def document() -> Document:
    """The whole of it, as plain JSON values."""
    return msgspec.json.decode(_encoded())


def _made() -> Document:
    messages: Document = {}
    channels: Document = {}
    operations: Document = {}
    schemas: Document = {}
    for surface in SURFACES:
        taken = {"auth": Auth, **surface.takes}
        told = {**surface.sends, **(dict.fromkeys(MEETING_DATA) if surface.meetings else {})}
        incoming = {
            kind: _message(f"{surface.name}.takes.{kind}", kind, cls, schemas) for kind, cls in taken.items()
        }
        outgoing = {
            kind: _message(f"{surface.name}.sends.{kind}", kind, cls, schemas) for kind, cls in told.items()
        }
        messages |= {one["name"]: one for one in (*incoming.values(), *outgoing.values())}
        channels[surface.name] = _channel(surface, [*incoming.values(), *outgoing.values()])
        operations[f"{surface.name}.take"] = _operation(surface, "receive", incoming)
        operations[f"{surface.name}.send"] = _operation(surface, "send", outgoing)
    schemas["StepData"]["properties"]["event_type"]["examples"] = [f"turn.{name}" for name in sent.STEPS]
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Minutebook",
            "version": release.VERSION,
            "description": RULES,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "httpApiKey", "name": "X-API-Key", "in": "header"},
                "key_in_url": {"type": "httpApiKey", "name": "api_key", "in": "query"},
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "token_in_url": {"type": "httpApiKey", "name": "token", "in": "query"},
            },
        },
    }


def _in_order(value: Any) -> Any:
    """With the words to choose from in one order: they come from sets, which have another in each process."""
    if isinstance(value, dict):
        known = cast(dict[str, Any], value)
        return {key: sorted(part) if key == "enum" else _in_order(part) for key, part in known.items()}
    return [_in_order(part) for part in cast(list[Any], value)] if isinstance(value, list) else value


def _channel(surface: Surface, messages: list[Document]) -> Document:
    channel: Document = {
        "address": surface.address,
        "description": surface.about,
        "messages": {one["name"]: {"$ref": f"#/components/messages/{one['name']}"} for one in messages},
    }
    if names := _PARAMETER.findall(surface.address):
        channel["parameters"] = {name: {"description": f"The {name}."} for name in names}
    if surface.query:
        query = {name: {"type": "string", "description": text} for name, text in surface.query.items()}
        channel["bindings"] = {"ws": {"method": "GET", "query": {"type": "object", "properties": query}}}
    return channel


def _operation(surface: Surface, action: str, messages: Mapping[str, Document]) -> Document:
    """`receive` and `send` are as the server sees them."""
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{surface.name}"},
        "summary": "What clients send." if action == "receive" else "What clients are sent.",
        "messages": [
            {"$ref": f"#/channels/{surface.name}/messages/{one['name']}"} for one in messages.values()
        ],
    }


def _message(name: str, kind: str, cls: type[msgspec.Struct] | None, schemas: Document) -> Document:
    payload = _meeting_frame(kind, schemas) if cls is None else _frame(kind, cls, schemas)
    return {"name": name, "title": kind, "summary": payload.get("description", kind), "payload": payload}


def _frame(kind: str, cls: type[msgspec.Struct], schemas: Document) -> Document:
    """The frame's own schema, with its `type`; what it refers to goes into `schemas`."""
    (out,), components = msgspec.json.schema_components((cls,), ref_template=REF)
    own = dict(components.pop(out["$ref"].rpartition("/")[2]))
    schemas |= components
    own["properties"] = {"type": {"const": kind}, **own.get("properties", {})}
    own["properties"]["type"] = {"const": kind}
    own["required"] = list(dict.fromkeys(("type", *own.get("required", ()))))
    own.pop("title", None)
    return own


def _meeting_frame(kind: str, schemas: Document) -> Document:
    """A frame of a board or team."""
    cls = MEETING_DATA[kind]
    (out,), components = msgspec.json.schema_components((cls,), ref_template=REF)
    schemas |= components
    text = (cls.__doc__ or kind).strip()
    return {
        "description": text,
        "type": "object",
        "properties": {
            "type": {"const": kind},
            "data": out,
            "timestamp": {"type": "string", "format": "date-time"},
            "task_id": {"type": "string"},
            "offset": {"type": "integer"},
        },
        "required": ["type", "data", "timestamp", "task_id"],
    }
