"""The web application: its surfaces, and the server that serves it."""

import gc
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin

from app import release
from app.api import errors
from app.api.chat import chat_router
from app.api.chat_socket import chat_socket
from app.api.experts import experts_router
from app.api.feed import feed_router
from app.api.feed_socket import feed_socket
from app.api.health import health, ready
from app.api.minutes import minutes_router
from app.api.pages import page, start_page
from app.api.portal import portal_router
from app.api.portal_socket import portal_socket
from app.api.portal_stream import portal_stream_router
from app.api.requests import requests_router
from app.api.security import provide_owner, provide_principal
from app.api.services import Services
from app.api.uploads import Uploads, uploads_router
from app.core.texts import Locale
from app.settings import Settings

DRAIN_SECONDS = 10
JSON_BYTES_MAX = 2 * 1024 * 1024


Opened = AbstractAsyncContextManager[tuple[Services, Uploads]]
"""Everything that handlers use, while it is open."""


def application(settings: Settings, opened: Callable[[], Opened]) -> Litestar:
    """The ASGI application; its lifespan opens and closes the services."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with opened() as (services, uploads):
            app.state.services, app.state.uploads = services, uploads
            yield

    async def provide_services(state: State) -> Services:
        return state.services

    async def provide_uploads(state: State) -> Uploads:
        return state.uploads

    locale: Locale = settings.locale
    return Litestar(
        route_handlers=[
            portal_router,
            portal_stream_router,
            portal_socket,
            chat_router,
            chat_socket,
            requests_router,
            experts_router,
            minutes_router,
            feed_router,
            feed_socket,
            uploads_router,
            health,
            ready,
            start_page,
            page,
        ],
        dependencies={
            "services": Provide(provide_services),
            "uploads": Provide(provide_uploads),
            "principal": Provide(provide_principal),
            "owner": Provide(provide_owner),
        },
        exception_handlers=errors.HANDLERS,
        lifespan=[lifespan],
        state=State({"locale": locale}),
        request_max_body_size=JSON_BYTES_MAX,
        logging_config=None,
        openapi_config=OpenAPIConfig(
            title="Minutebook",
            version=release.VERSION,
            description="An agent server that keeps the minutes.",
            path="/schema",
            render_plugins=[SwaggerRenderPlugin()],
        ),
    )


class MinutebookServer(uvicorn.Server):
    """Tells the open streams that the end has come, so that a shutdown does not wait for their clients."""

    def __init__(self, config: uvicorn.Config, app: Litestar, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            gc.freeze()  # what there is now stays; looking through it again and again took a third of a delivery
            gc.set_threshold(50_000, 20, 100)
            self._announce()

    def handle_exit(self, sig: int, frame: Any) -> None:
        services: Services | None = getattr(self._app.state, "services", None)
        if services is not None:
            services.stopping.set()
            services.log.stop_reading()
        super().handle_exit(sig, frame)


def server_config(settings: Settings, app: Litestar) -> uvicorn.Config:
    """uvloop where there is one, sans-I/O WebSockets, and no access log: keys may be in URLs."""
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="auto",
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=JSON_BYTES_MAX,
        ws_ping_interval=20,
        ws_ping_timeout=20,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        server_header=False,
    )
