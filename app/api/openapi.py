"""The OpenAPI document: what handlers say of themselves, and what is so for every route: who may call it, how it fails.

Every error has one body, `Problem`. Which errors a route may answer with follows from what it is (a path with an id may
not be found, a body may be too large …); what only its own work can bring is said by `problems` in its handler.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import msgspec
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, OpenAPI, SecurityScheme

from app.api.openapi_bodies import describe_answers
from app.api.openapi_limits import limit_parameters, limit_schemas
from app.api.problems import REASONS, Problem

API_PATH = "/api/v1/"
OURS = ("app.", "projections.")
REF = "#/components/schemas/{name}"
READING = frozenset({"get", "head", "options"})
METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})


SCHEMES: dict[str, SecurityScheme] = {
    "key": SecurityScheme(
        type="apiKey", name="X-API-Key", security_scheme_in="header", description="An API key."
    ),
    "key_in_url": SecurityScheme(
        type="apiKey",
        name="api_key",
        security_scheme_in="query",
        description="An API key, where no header can be sent. URLs are seen by more people than headers.",
    ),
    "bearer": SecurityScheme(
        type="http", scheme="bearer", bearer_format="JWT", description="A JSON Web Token."
    ),
    "token_in_url": SecurityScheme(
        type="apiKey", name="token", security_scheme_in="query", description="As `key_in_url`, for a token."
    ),
}


@dataclass
class CompleteConfig(OpenAPIConfig):
    """As `OpenAPIConfig`; `needs_key` is false in development mode: nobody is asked for one until one is issued."""

    needs_key: bool = True

    def to_openapi_schema(self) -> OpenAPI:
        plain = super().to_openapi_schema()
        known = {field.name: getattr(plain, field.name) for field in fields(plain)}
        return CompleteOpenAPI(**known, needs_key=self.needs_key)


@dataclass
class CompleteOpenAPI(OpenAPI):
    """The document, completed when it is asked for."""

    needs_key: bool = True

    @property
    def _exclude_fields(self) -> set[str]:
        return super()._exclude_fields | {"needs_key"}

    def to_schema(self) -> dict[str, Any]:
        return completed(super().to_schema(), needs_key=self.needs_key)


def security() -> Components:
    """The ways to say who one is."""
    return Components(security_schemes={**SCHEMES})


def completed(document: dict[str, Any], *, needs_key: bool) -> dict[str, Any]:
    """The document with what is so for every route."""
    schemas: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    _describe(schemas)
    limit_schemas(schemas)
    describe_answers(document["paths"], schemas)
    schemas |= msgspec.json.schema_components([Problem], ref_template=REF)[1]
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method in METHODS:
                _complete(path, method, operation, needs_key=needs_key)
    return document


def _describe(schemas: dict[str, Any]) -> None:
    """Our structs as their decoder sees them: the framework leaves out their limits, the types of what is in their
    tuples, and that some take no other fields."""
    known: dict[str, list[type[msgspec.Struct]]] = {}
    for cls in _structs(msgspec.Struct):
        known.setdefault(cls.__name__, []).append(cls)
    for key, schema in list(schemas.items()):
        named = known.get(schema.get("title", ""), ())
        if schema.get("type") == "object" and len(named) == 1:
            _, parts = msgspec.json.schema_components(named, ref_template=REF)
            schemas[key] = parts.pop(named[0].__name__)
            for name, part in parts.items():
                schemas.setdefault(name, part)


def _structs(base: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for cls in base.__subclasses__():
        if cls.__module__.startswith(OURS):
            yield cls
        yield from _structs(cls)


def _complete(path: str, method: str, operation: dict[str, Any], *, needs_key: bool) -> None:
    limit_parameters(operation.get("parameters") or [])
    if path.startswith(API_PATH):
        # {}: nobody has to say who they are, until a first key is issued.
        operation["security"] = [*([] if needs_key else [{}]), *({name: []} for name in SCHEMES)]
    responses: dict[str, Any] = operation.setdefault("responses", {})
    responses.pop("400", None)  # the framework's own idea of it
    for status in sorted(_statuses(path, method, operation)):
        responses.setdefault(
            str(status),
            {
                "description": REASONS[status],
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        )


def _statuses(path: str, method: str, operation: dict[str, Any]) -> set[int]:
    """What may go wrong with a route because of what it is."""
    parameters: list[dict[str, Any]] = operation.get("parameters") or []
    found = {503}
    if parameters or "requestBody" in operation:
        found |= {400}
    if any(parameter.get("in") == "path" or parameter.get("name") == "owner" for parameter in parameters):
        found |= {404}
    if "requestBody" in operation:
        found |= {413, 415}
    if path.startswith(API_PATH):
        found |= {401, 403}
    if method not in READING:
        found |= {403}
    return found
