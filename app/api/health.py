"""Is the process up, and can it serve."""

from typing import Literal

import msgspec
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec

from app.api.services import Services
from app.log.errors import LogUnavailable


class Health(msgspec.Struct, frozen=True):
    status: Literal["ok"] = "ok"


class View(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a view is: the position it has folded, and how many events it is behind. `stopped`: it needs a person."""

    position: int
    behind: int
    stopped: bool = False


class Readiness(msgspec.Struct, frozen=True, omit_defaults=True):
    """`stopped`: a view has stopped; `draining`: the process is about to end; `unavailable`: the database is away, or
    takes no writes."""

    status: Literal["ok", "stopped", "draining", "unavailable"]
    detail: str = ""
    position: int | None = None
    epoch: str | None = None
    views: dict[str, View] = {}


NOT_READY = {
    503: ResponseSpec(
        Readiness, generate_examples=False, description="It cannot serve now; `status` says why."
    )
}


@get("/health", summary="The process is up", tags=["operation"], sync_to_thread=False)
def health() -> Health:
    return Health()


@get(
    "/ready",
    summary="The log can be read and written, and the views keep up",
    tags=["operation"],
    responses=NOT_READY,
)
async def ready(services: Services) -> Response[Readiness]:
    """503 while the database is away or takes no writes, a projection has stopped, or the process is about to end."""
    if services.stopping.is_set():
        return _not_ready("draining", "the process is about to end; use another one")
    try:
        position = await services.log.reader.position()
        takes_writes = await services.log.reader.takes_writes()
    except LogUnavailable:
        return _not_ready("unavailable", "the database cannot be reached")
    if not takes_writes:
        return _not_ready("unavailable", "the database takes no writes: it is a standby, or read-only")
    found = services.views.status()
    views = {
        status.name: View(status.position, status.behind, status.stopped is not None) for status in found
    }
    stopped = [name for name, view in views.items() if view.stopped]
    body = Readiness(
        "stopped" if stopped else "ok",
        f"stopped: {', '.join(stopped)}; `minutebook doctor` says more" if stopped else "",
        position,
        services.log.epoch,
        views,
    )
    return Response(body, status_code=503 if stopped else 200)


def _not_ready(status: Literal["draining", "unavailable"], detail: str) -> Response[Readiness]:
    return Response(Readiness(status, detail), status_code=503, headers={"Retry-After": "1"})
