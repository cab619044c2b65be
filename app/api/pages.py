"""The pages: talk on the left and the minutes of it on the right (`/`), the dashboard of what has ended, and the calls
of the API (`/schema`).

Everything that they load is served from here, so that they work without the Internet and no stranger's script runs
where people enter their keys.
"""

from importlib.resources import files
from typing import Any

from litestar import Request, Response, Router, get
from litestar.exceptions import NotFoundException
from litestar.openapi.plugins import OpenAPIRenderPlugin

PAGES = {"/": "index.html", "/dashboard": "dashboard.html"}
_SCHEMA_PAGE = "schema.html"
_OF_START = ("asks", "line", "meetings", "outbox", "talk", "texts", "written")
_OF_DASHBOARD = ("charts", "scope", "tables", "texts")
_SCRIPTS = (
    *("app.js", *(f"app_{part}.js" for part in _OF_START)),
    *("dashboard.js", *(f"dashboard_{part}.js" for part in _OF_DASHBOARD)),
    *("door.js", "schema.js"),
)
_SWAGGER_UI = {"swagger-ui-bundle.js": "javascripts", "swagger-ui.css": "stylesheets"}
"""Parts of Swagger UI, with their folders in the package that carries it."""

_TYPES = {
    **dict.fromkeys(PAGES.values(), "text/html"),
    **dict.fromkeys((*_SCRIPTS, "swagger-ui-bundle.js"), "text/javascript"),
    **dict.fromkeys(("style.css", "dashboard.css", "swagger-ui.css"), "text/css"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_KEPT = {"Cache-Control": "max-age=86400"}
"""For what is large and changes only with a release."""


class SchemaPage(OpenAPIRenderPlugin):
    """`/schema`, and at its former address too. The policy comes with its router."""

    def __init__(self) -> None:
        super().__init__(path=["/", "/swagger"])

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """The page asks for the document itself."""
        return _content(_SCHEMA_PAGE)


def schema_router() -> Router:
    """Of all that the framework serves below `/schema`, with the headers of the other pages."""
    return Router("/schema", route_handlers=[], include_in_schema=False, response_headers=_HEADERS)


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
    headers = _HEADERS | _KEPT if name in _SWAGGER_UI else _HEADERS
    return Response(_content(name), media_type=_TYPES[name], headers=headers)


def _content(name: str) -> bytes:
    if name in _SWAGGER_UI:
        return (files("mkdocs_swagger_ui_tag") / "swagger-ui" / _SWAGGER_UI[name] / name).read_bytes()
    return (files("app.pages") / name).read_bytes()
