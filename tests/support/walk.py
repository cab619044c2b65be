"""Every route and socket of the application, found in its own route table and documents, and what they are called with.

Nothing here names a route: one that is added is walked. A body that a route takes is made of the document's schema
(`sample`); what it needs besides is a thing of somebody else's for each parameter of its path (`world.py`).
"""

import warnings
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import msgspec
from litestar import Litestar
from litestar.exceptions import LitestarDeprecationWarning
from litestar.routes import HTTPRoute, WebSocketRoute

from app.api.asyncapi import document as asyncapi_document
from app.api.security import ADMINISTRATION, READING
from app.composition.web import application
from app.settings import Settings

API = "/api/v1/"
PUBLIC = ("/", "/dashboard", "/pages/", "/health", "/ready", "/metrics", "/schema")
"""Beginnings of the paths outside of the API. `/metrics` asks for a key all the same, where it is not public."""
NEVER = "019aa000-0000-7000-8000-000000000000"
"""An id that nothing ever had."""

Json = dict[str, Any]


class Call(msgspec.Struct, frozen=True):
    """A method of a path. `schema`: of its JSON body, None where it takes none; `form`: it takes a form instead."""

    method: str
    path: str
    parameters: tuple[str, ...]
    query: Mapping[str, Json]
    administration: bool
    schema: Json | None = None
    form: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def writes(self) -> bool:
        return self.method not in READING

    def at(self, values: Mapping[str, str]) -> str:
        """Its path with these values; `NEVER` where there is none."""
        return self.path.format_map({name: values.get(name, NEVER) for name in self.parameters})


class Surface(msgspec.Struct, frozen=True):
    """A socket. `takes` are the schemas of its frames by their types."""

    name: str
    path: str
    parameters: tuple[str, ...]
    query: tuple[str, ...]
    takes: Mapping[str, Json]

    def at(self, values: Mapping[str, str]) -> str:
        return self.path.format_map({name: values.get(name, NEVER) for name in self.parameters})


@cache
def app() -> Litestar:
    """The application as it is served, but not opened."""
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", LitestarDeprecationWarning
        )  # of how dependencies are marked in its release 3
        return application(Settings(), lambda: None)  # type: ignore[arg-type,return-value]


@cache
def openapi() -> Json:
    return app().openapi_schema.to_schema()


@cache
def calls() -> tuple[Call, ...]:
    """All methods of all paths but OPTIONS, whether or not they are in the document."""
    return tuple(_calls())


def _calls() -> Iterator[Call]:
    for route in app().routes:
        if not isinstance(route, HTTPRoute):
            continue
        path = route.path_format or "/"
        for handler in route.route_handlers:
            for method in sorted(handler.http_methods - {"OPTIONS"}):
                described: Json = openapi()["paths"].get(path, {}).get(method.lower(), {})
                content = described.get("requestBody", {}).get("content", {})
                schema = content.get("application/json", {}).get("schema")
                yield Call(
                    str(method),
                    path,
                    tuple(route.path_parameters),
                    {
                        one["name"]: one["schema"]
                        for one in described.get("parameters", ())
                        if one["in"] == "query"
                    },
                    bool(handler.opt.get(ADMINISTRATION)),
                    None if schema is None else resolved(schema, openapi()),
                    "multipart/form-data" in content,
                )


@cache
def api_calls() -> tuple[Call, ...]:
    return tuple(call for call in calls() if call.path.startswith(API))


@cache
def sockets() -> tuple[Surface, ...]:
    """All sockets of the route table, with what the AsyncAPI document says that they take."""
    document = asyncapi_document()
    channels = {channel["address"]: (name, channel) for name, channel in document["channels"].items()}
    found = []
    for route in app().routes:
        if isinstance(route, WebSocketRoute):
            name, channel = channels[route.path_format]
            ws = channel.get("bindings", {}).get("ws", {})
            query = ws.get("query", {}).get("properties", {})
            prefix = f"{name}.takes."
            takes = {
                key.removeprefix(prefix): resolved(message["payload"], document)
                for key, message in document["components"]["messages"].items()
                if key.startswith(prefix)
            }
            found.append(Surface(name, route.path_format, tuple(route.path_parameters), tuple(query), takes))
    return tuple(found)


def resolved(schema: Json, document: Json) -> Json:
    """The schema without references."""
    if "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        return resolved(found, document)
    made: Json = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: resolved(one, document) for name, one in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            made[key] = resolved(value, document)
        elif key in ("anyOf", "oneOf", "allOf"):
            made[key] = [resolved(one, document) for one in value]
        else:
            made[key] = value
    return made


def sample(schema: Json) -> Any:
    """The smallest value that the schema takes, as far as schemas go here."""
    for key in ("const", "default"):
        if key in schema and schema[key] is not None:
            return schema[key]
    if "enum" in schema:
        return schema["enum"][0]
    for key in ("anyOf", "oneOf"):
        if key in schema and "properties" not in schema:
            return sample(schema[key][0])
    kind = schema.get("type")
    kind = next((one for one in kind if one != "null"), "null") if isinstance(kind, list) else kind
    match kind:
        case "object":
            needed = [*schema.get("required", ()), *schema.get("oneOf", [{}])[0].get("required", ())]
            return {name: sample(schema["properties"][name]) for name in dict.fromkeys(needed)}
        case "array":
            return [sample(schema.get("items", {}))] * schema.get("minItems", 0)
        case "string":
            return "2999-01-01T00:00:00Z" if schema.get("format") == "date-time" else "hello"
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case _:
            return None
