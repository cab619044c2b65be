"""The OpenAPI document: what handlers say of themselves, and what is so for every route: who may call it, how it fails.

Every error has one body, `Problem`. Which errors a route may answer with follows from what it is (a path with an id may
not be found, a body may be too large …); what only its own work can bring is said by `problems` in its handler, or here
in `OWN`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import msgspec
from litestar.openapi import OpenAPIConfig
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Components, OpenAPI, SecurityScheme

from app.api.openapi_bodies import describe_answers
from app.api.openapi_limits import limit_parameters, limit_schemas

API_PATH = "/api/v1/"
OURS = ("app.", "projections.")
REF = "#/components/schemas/{name}"
READING = frozenset({"get", "head", "options"})
METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})


class Problem(msgspec.Struct, frozen=True):
    """Whatever goes wrong: the status again, and one sentence that says what to do."""

    status_code: int
    detail: str


PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "Whatever goes wrong: the status again, and one sentence that says what to do.",
    "type": "object",
    "required": ["status_code", "detail"],
    "properties": {"status_code": {"type": "integer"}, "detail": {"type": "string"}},
}
REASONS = {
    400: "What was sent cannot be used; the sentence names it.",
    401: "The key or token is missing or not valid.",
    403: "The role or the scopes of the key do not allow this, or a page of another origin asks for it.",
    404: "There is no such thing, or it is somebody else's.",
    409: "It does not fit what is there by now.",
    413: "It is too large.",
    415: "The body is not of a type that is taken here.",
    429: "Too much at once, or a quota is used up.",
    503: "The database is away, or the server is busy or stopping; `Retry-After` says when to try again.",
}
OWN: dict[tuple[str, str], tuple[int, ...]] = {
    ("post", "/api/v1/portal/chat"): (404, 409, 429),
    ("post", "/api/v1/portal/chat/stream"): (404, 409, 429),
    ("post", "/api/v1/chat/sessions"): (404, 409),
    ("post", "/api/v1/chat/sessions/{session_id}/messages"): (409, 429),
    ("post", "/api/v1/tasks/{task_id}/reply"): (409,),
    ("post", "/api/v1/tasks/{task_id}/confirm"): (409,),
    ("post", "/api/v1/tasks/{task_id}/cancel"): (409,),
    ("get", "/api/v1/conversations/{conversation_id}/events"): (409,),
    ("post", "/api/v1/tasks"): (404, 409, 429),
    ("post", "/api/v1/keys"): (409,),
    ("post", "/api/v1/admin/users"): (404, 409),
    ("post", "/api/v1/admin/departments"): (409,),
    ("post", "/api/v1/admin/keys"): (404, 409),
    ("put", "/api/v1/admin/quotas"): (404,),
}
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


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """For `responses=` of a handler: the errors that are its own. Raises `KeyError` for a status that is not used."""
    return {
        status: ResponseSpec(Problem, generate_examples=False, description=REASONS[status])
        for status in statuses
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
    schemas["Problem"] = PROBLEM
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
    found = set(OWN.get((method, path), ()))
    parameters: list[dict[str, Any]] = operation.get("parameters") or []
    found |= {503}
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
