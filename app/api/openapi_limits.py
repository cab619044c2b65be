"""What the work itself checks of values, with a sentence of its own, and what the framework's schemas do not say."""

from typing import Any

from app.agents.modes import modes_on_request
from app.core import streams
from app.runs.accept import CLIENT_MESSAGE_ID_CHARS_MAX
from projections.tasks_reads import STATES as STATES_OF_TASKS

Json = dict[str, Any]
SAID: Json = {"minLength": 1, "pattern": r"\S"}
CONVERSATION_ID: Json = {
    "format": "conversation-id",
    "minLength": 1,
    "maxLength": streams.CONVERSATION_ID_CHARS_MAX,
    "description": "1-200 printable characters without '/'",
}
ONE_LINE: Json = {"format": "one-line", "description": "printable characters, in one line"}
CLIENT_ID: Json = {"minLength": 1, "maxLength": CLIENT_MESSAGE_ID_CHARS_MAX}
_STATE = f"({'|'.join(STATES_OF_TASKS)})"
STATES: Json = {"pattern": f"^ *{_STATE} *(, *{_STATE} *)*$", "maxLength": 200}
"""Of tasks, where a query takes several; other states are an enumeration already."""
TIME: Json = {"format": "date-time"}
MODE: Json = {"enum": [*modes_on_request()]}
FIELDS: dict[tuple[str, str], Json] = {
    ("ChatBody", "message"): SAID,
    ("ChatBody", "conversation_id"): CONVERSATION_ID,
    ("ChatBody", "client_message_id"): CLIENT_ID,
    ("OpenBody", "session_id"): CONVERSATION_ID,
    ("ChangeBody", "title"): {"maxLength": 200},
    ("TitleBody", "title"): {"maxLength": 200},
    ("PostedMessage", "execution_mode"): MODE,
    ("PostedMessage", "client_message_id"): CLIENT_ID,
    ("PostedMessage", "client_id"): CLIENT_ID,
    ("AddedMessages", "client_message_id"): CLIENT_ID,
    ("AddedMessages", "client_id"): CLIENT_ID,
    ("Reply", "content"): SAID,
    ("StartBody", "message"): SAID,
    ("StartBody", "input_data"): SAID,
    ("StartBody", "conversation_id"): CONVERSATION_ID,
    ("StartBody", "client_message_id"): CLIENT_ID,
    ("StartBody", "execution_mode"): MODE,
    ("ReminderBody", "conversation_id"): CONVERSATION_ID,
    ("NewUser", "name"): ONE_LINE,
    ("UserPatch", "name"): ONE_LINE,
    ("NewDepartment", "name"): ONE_LINE,
    ("DepartmentPatch", "name"): ONE_LINE,
    ("OwnKeyBody", "name"): ONE_LINE,
    ("KeyBody", "name"): ONE_LINE,
}
"""Of texts in bodies, by the structure and its field. The formats are our own."""
OWN_INPUT: Json = {"not": {"propertyNames": {"enum": ["message", "message_id", "sources"]}}}
WHOLE: dict[tuple[str, str], Json] = {
    ("StartBody", "input_data"): {
        "properties": {
            "message": {"type": "string"},
            "sources": {"type": "array", "items": {"type": "string"}},
        },
        "anyOf": [{"required": ["message"], "properties": {"message": SAID}}, OWN_INPUT],
    },
}
"""Of objects in bodies."""
ALSO: dict[str, Json] = {
    "Quota": {
        "anyOf": [
            {"properties": {"quota_type": {"const": "cost"}}},
            {"properties": {"limit": {"type": "integer"}}},
        ]
    }
}
"""Of structures as such."""
ONE_OF: dict[str, tuple[str, str]] = {"StartBody": ("message", "input_data"), "ReminderBody": ("at", "cron")}
"""Structures that have exactly one of two fields."""
QUERY: dict[str, Json] = {
    "conversation_id": CONVERSATION_ID,
    "reason": ONE_LINE,
    "status": STATES,
    "task": {"format": "uuid"},
    "task_id": {"format": "uuid"},
    "since": TIME,
    "until": TIME,
}
"""Of parameters, by their names."""


def limit_schemas(schemas: dict[str, Json]) -> None:
    """Write the limits into the document's schemas. Raises `KeyError` for a field that there is not."""
    by_title = {schema.get("title"): schema for schema in schemas.values()}
    for (title, field), limits in FIELDS.items():
        _limit(by_title[title]["properties"][field], limits)
    for (title, field), limits in WHOLE.items():
        _limit(by_title[title]["properties"][field], limits, kind="object")
    for title, limits in ALSO.items():
        by_title[title].update(limits)
    for title, (this, that) in ONE_OF.items():
        by_title[title]["oneOf"] = [_has(this, that), _has(that, this)]


def limit_parameters(parameters: list[Json]) -> None:
    """Write the limits into parameters of the query. What is missing there is missing, and never null."""
    for parameter in parameters:
        if parameter["in"] != "query":
            continue
        schema: Json = parameter["schema"]
        kinds = [one for one in schema.pop("oneOf", ()) if one.get("type") != "null"]
        if len(kinds) == 1:
            schema |= kinds[0]
        elif kinds:
            schema["oneOf"] = kinds
        parameter["schema"] = schema
        if parameter["name"] in QUERY:
            _limit(schema, QUERY[parameter["name"]])


def _limit(schema: Json, limits: Json, *, kind: str = "string") -> None:
    """Of a text (or object) that may be missing, the limits are those of the text."""
    for one in (schema, schema.get("items", {}), *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if one.get("type") == kind and "enum" not in one:
            one.update(limits)


def _has(this: str, that: str) -> Json:
    """An object that has the one, and the other at most as null."""
    return {
        "required": [this],
        "properties": {this: {"not": {"type": "null"}}, that: {"type": "null"}},
    }
