"""The web application: its surfaces, and the server that serves it."""

import asyncio
import math
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi.spec import License
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin

from app import release
from app.api import errors
from app.api.admin import admin_router
from app.api.asyncapi import asyncapi_json, asyncapi_yaml
from app.api.bodies import demand_body
from app.api.chat import chat_router
from app.api.chat_socket import chat_socket
from app.api.errors import JSON_BYTES_MAX
from app.api.evolution import evolution_router
from app.api.evolution_socket import evolution_socket
from app.api.experts import experts_router
from app.api.feed import feed_router
from app.api.feed_socket import feed_socket
from app.api.health import health, ready
from app.api.keys import admin_keys_router, own_keys_router
from app.api.metrics import metrics
from app.api.minutes import minutes_router
from app.api.notifications import notifications_router, users_notifications_router
from app.api.openapi import CompleteConfig, security
from app.api.pages import SchemaPage, page, schema_router, start_page
from app.api.portal import portal_router
from app.api.portal_socket import portal_socket
from app.api.portal_stream import portal_stream_router
from app.api.quotas import quotas_router
from app.api.reminders import reminders_router
from app.api.request_log import Doorway, provide_noted_principal
from app.api.requests import requests_router
from app.api.security import authenticate, provide_owner
from app.api.services import Services
from app.api.session_agents import agents_router
from app.api.task_socket import task_socket
from app.api.tasks import tasks_router
from app.api.uploads import Uploads, uploads_router
from app.composition.garbage import collect_rarely
from app.core.texts import Locale
from app.settings import Settings

FORCED_EXIT_SECONDS = 0.1
DESCRIPTION = """An agent server that keeps the minutes.

What the sockets send and take is in `/schema/asyncapi.json`. Every answer carries `X-Request-ID`, the caller's if one
was sent; the server's log has it on every line of the request."""


Opened = AbstractAsyncContextManager[tuple[Services, Uploads]]
"""Everything that handlers use, while it is open."""


class _Application(Litestar):
    """Without Litestar's support of pydantic and attrs, which nothing here uses: importing both, because they happen to
    be installed, made up a sixth of a start."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


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
    return _Application(
        route_handlers=[
            portal_router,
            portal_stream_router,
            portal_socket,
            chat_router,
            chat_socket,
            agents_router,
            requests_router,
            tasks_router,
            task_socket,
            experts_router,
            minutes_router,
            quotas_router,
            evolution_router,
            evolution_socket,
            feed_router,
            feed_socket,
            uploads_router,
            notifications_router,
            users_notifications_router,
            reminders_router,
            own_keys_router,
            admin_router,
            admin_keys_router,
            health,
            ready,
            metrics,
            asyncapi_json,
            asyncapi_yaml,
            start_page,
            page,
        ],
        guards=[authenticate, demand_body],
        dependencies={
            "services": Provide(provide_services),
            "uploads": Provide(provide_uploads),
            "principal": Provide(provide_noted_principal),
            "owner": Provide(provide_owner),
        },
        exception_handlers=errors.HANDLERS,
        lifespan=[lifespan],
        state=State({"locale": locale}),
        request_max_body_size=JSON_BYTES_MAX,
        logging_config=None,
        openapi_config=CompleteConfig(
            title="Minutebook",
            version=release.VERSION,
            description=DESCRIPTION,
            path="/schema",
            openapi_router=schema_router(),
            render_plugins=[SchemaPage()],
            components=security(),
            license=License("Apache-2.0", identifier="Apache-2.0"),
            needs_key=not settings.development,
        ),
        cors_config=CORSConfig(
            allow_origins=list(settings.allowed_origins),
            allow_headers=["authorization", "content-type", "last-event-id", "x-api-key", "x-request-id"],
            expose_headers=["x-request-id"],
        )
        if settings.allowed_origins
        else None,
    )


class MinutebookServer(uvicorn.Server):
    """Shuts down in a stated time, `drain_seconds`, and then ends the runs, which takes at most some 10 s more.

    signal ─► /ready says no, nothing new is let in ─► sockets closed one by one (half of the time at most)
           ─► streams and answers that wait end ─► connections closed ─► runs ended, log written to its end
    """

    def __init__(self, config: uvicorn.Config, app: Litestar, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            collect_rarely()
            try:
                self._announce()
            except BaseException:  # standard output cannot be written
                await self.shutdown(sockets)
                raise

    def handle_exit(self, sig: int, frame: Any) -> None:
        services: Services | None = getattr(self._app.state, "services", None)
        if services is not None:
            services.stopping.set()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        services: Services | None = getattr(self._app.state, "services", None)
        if services is not None:
            services.stopping.set()
            await self._drain(services)
            services.log.stop_reading()
        await super().shutdown(sockets)

    async def _drain(self, services: Services) -> None:
        """A second Ctrl-C cuts it short."""
        draining = asyncio.create_task(services.sockets.drain(services.options.drain_seconds / 2))
        while not draining.done() and not self.force_exit:
            await asyncio.wait({draining}, timeout=FORCED_EXIT_SECONDS)
        draining.cancel()


def server_config(settings: Settings, app: Litestar) -> uvicorn.Config:
    """uvloop where there is one, sans-I/O WebSockets, and no access log: keys may be in URLs."""
    doorway = Doorway(
        app,
        allowed_origins=settings.allowed_origins,
        locale=settings.locale,
    )
    return uvicorn.Config(
        doorway,
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
        timeout_graceful_shutdown=max(1, math.ceil(settings.drain_seconds / 2)),
        server_header=False,
    )
