"""The start page: talk on the left, the minutes of it on the right."""

from importlib.resources import files

from litestar import Response, get
from litestar.exceptions import NotFoundException

_TYPES = {"index.html": "text/html", "app.js": "text/javascript", "style.css": "text/css"}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}


@get("/", include_in_schema=False, sync_to_thread=False)
def start_page() -> Response[bytes]:
    return _page("index.html")


@get("/pages/{name:str}", include_in_schema=False, sync_to_thread=False)
def page(name: str) -> Response[bytes]:
    return _page(name)


def _page(name: str) -> Response[bytes]:
    if name not in _TYPES:
        raise NotFoundException(f"There is no page {name[:60]!r}.")
    content = (files("app.pages") / name).read_bytes()
    return Response(content, media_type=f"{_TYPES[name]}; charset=utf-8", headers=_HEADERS)
