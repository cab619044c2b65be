"""What goes wrong, as the OpenAPI document tells it: one body for every error, and why there is one of each status."""

import msgspec
from litestar.openapi.datastructures import ResponseSpec


class Problem(msgspec.Struct, frozen=True):
    """Whatever goes wrong: the status again, and one sentence that says what to do."""

    status_code: int
    detail: str


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


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """For `responses=` of a handler: the errors that are its own. Raises `KeyError` for a status that is not used."""
    return {
        status: ResponseSpec(Problem, generate_examples=False, description=REASONS[status])
        for status in statuses
    }
