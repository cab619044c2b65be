"""The composition root: the only place that builds things and knows all of them."""

import asyncio
import gc
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin

from app import release
from app.api import errors
from app.api.feed import feed_router
from app.api.feed_socket import feed_socket
from app.api.health import health, ready
from app.api.pages import page, start_page
from app.api.portal import portal_router
from app.api.portal_socket import portal_socket
from app.api.portal_stream import portal_stream_router
from app.api.security import provide_principal
from app.api.services import ApiOptions, Services
from app.api.sockets import SocketRegistry
from app.api.uploads import Uploads, uploads_router
from app.auth.principal import KeyRing, Principal, digest_of
from app.core.agent import DEFAULT_PROMPT, Agent
from app.core.events import RunLimits
from app.core.ids import new_id
from app.core.texts import Locale
from app.gateway.gateway import Gateway, build_gateway
from app.log.log import open_log
from app.runs.accept import Conversations
from app.runs.runner import Runs
from app.settings import Settings
from app.tools import calculator, clock, read_upload, search
from app.tools.toolbox import ToolBox
from projections import transcript
from projections.reads import ReadPool, read_pool
from projections.runner import ProjectionRunner

DRAIN_SECONDS = 10
JSON_BYTES_MAX = 2 * 1024 * 1024

__all__ = ["MinutebookServer", "build_app", "open_services"]


def keyring(settings: Settings) -> KeyRing:
    """The configured keys, hashed."""
    return KeyRing(
        (key.key_sha256 or digest_of(key.key), Principal(key.user, key.role)) for key in settings.api_keys
    )


def gateway_of(settings: Settings) -> Gateway:
    """Raises `ValueError` where the setting `model` names none, `LocalModelUnavailable` where it is not installed."""
    if settings.model.startswith("anthropic:"):
        return build_gateway(settings.model, api_key=settings.anthropic_api_key or None)
    return build_gateway(
        settings.model, base_url=settings.openai_base_url or None, api_key=settings.openai_api_key or None
    )


@asynccontextmanager
async def open_services(
    settings: Settings, dsn: str, gateway: Gateway
) -> AsyncGenerator[tuple[Services, Uploads]]:
    """Everything that handlers use, closed in the opposite order."""
    async with AsyncExitStack() as stack:
        log = await open_log(dsn, node_id=str(new_id()))
        stack.push_async_callback(log.close)
        views = ProjectionRunner(dsn)
        await asyncio.to_thread(views.start)
        stack.push_async_callback(asyncio.to_thread, views.close)
        log.wakeups.on_any(views.wake)
        reads = await stack.enter_async_context(read_pool(dsn))
        folder = Path(settings.data_dir) / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        uploads = Uploads(folder, log.reader)
        stack.push_async_callback(gateway.close)
        await gateway.load()
        toolbox = ToolBox(_tools(reads, uploads))
        runs = Runs(log, gateway, toolbox)
        await runs.open()
        stack.push_async_callback(runs.close)
        agent = Agent(
            settings.agent_name,
            settings.system_prompt or DEFAULT_PROMPT,
            limits=RunLimits(settings.max_steps, settings.run_timeout_seconds),
        )
        yield (
            Services(
                ApiOptions(
                    settings.locale,
                    settings.heartbeat_seconds,
                    settings.feed_heartbeat_seconds,
                ),
                keyring(settings),
                log,
                Conversations(log, toolbox, agent=agent, locale=settings.locale, admit=runs.admit),
                runs,
                views,
                reads,
                SocketRegistry(per_user_max=settings.sockets_per_user),
                asyncio.Event(),
            ),
            uploads,
        )


def _tools(reads: ReadPool, uploads: Uploads) -> list[Any]:
    async def find(owner: str, query: str, limit: int) -> Sequence[search.Hit]:
        found = await transcript.search(reads, owner, None, query, limit=limit)
        return [
            search.Hit(hit.conversation_id, hit.message.role, hit.message.content, hit.message.timestamp)
            for hit in found
        ]

    return [calculator.tool(), clock.tool(), search.tool(find), read_upload.tool(uploads.read)]


def build_app(settings: Settings, dsn: str, gateway: Gateway) -> Litestar:
    """The ASGI application; its lifespan opens and closes the services."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncGenerator[None]:
        async with open_services(settings, dsn, gateway) as (services, uploads):
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
