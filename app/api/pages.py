"""The pages: talk on the left and the minutes of it on the right (`/`), and the dashboard of what has ended."""

from importlib.resources import files
from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException

PAGES = {"/": "index.html", "/dashboard": "dashboard.html"}
_SCRIPTS = ("app.js", "dashboard.js", "dashboard_charts.js", "dashboard_tables.js", "dashboard_texts.js")
_TYPES = {
    **dict.fromkeys(PAGES.values(), "text/html"),
    **dict.fromkeys(_SCRIPTS, "text/javascript"),
    **dict.fromkeys(("style.css", "dashboard.css"), "text/css"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@get(list(PAGES), include_in_schema=False, sync_to_thread=False)
def start_page(request: Request[Any, Any, Any]) -> Response[bytes]:
    """The page of this path."""
    return _page(PAGES["/" + request.scope["path"].strip("/")])


@get("/pages/{name:str}", include_in_schema=False, sync_to_thread=False)
def page(name: str) -> Response[bytes]:
    return _page(name)


def _page(name: str) -> Response[bytes]:
    if name not in _TYPES:
        raise NotFoundException(f"There is no page {name[:60]!r}.")
    content = (files("app.pages") / name).read_bytes()
    return Response(content, media_type=_TYPES[name], headers=_HEADERS)
