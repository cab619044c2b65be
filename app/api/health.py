"""Is the process up, and can it serve."""

from typing import Any

from litestar import Response, get

from app.api.services import Services
from app.log.errors import LogUnavailable


@get("/health", summary="The process is up", tags=["operation"])
async def health() -> dict[str, str]:
    return {"status": "ok"}


@get("/ready", summary="The log can be read and the views keep up", tags=["operation"])
async def ready(services: Services) -> Response[dict[str, Any]]:
    """503 while the database is away or a projection has stopped."""
    try:
        position = await services.log.reader.position()
    except LogUnavailable:
        return Response(
            {"status": "unavailable", "detail": "the database cannot be reached"}, status_code=503
        )
    views = {
        status.name: {"position": status.position, "behind": status.behind}
        for status in services.views.status()
    }
    stopped = [status.name for status in services.views.status() if status.stopped is not None]
    body = {
        "status": "stopped" if stopped else "ok",
        "position": position,
        "epoch": services.log.epoch,
        "views": views,
    }
    return Response(body, status_code=503 if stopped else 200)
