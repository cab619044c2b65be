"""The composition root: the only place that builds things and knows all of them."""

import asyncio
import gc
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
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
from app.api.security import provide_principal
from app.api.services import ApiOptions, Services
from app.api.sockets import SocketRegistry
from app.api.uploads import Uploads, uploads_router
from app.auth.principal import KeyRing, Principal, digest_of
from app.core.agent import DEFAULT_PROMPT, Agent
from app.core.events import RunLimits, RunRequested
from app.core.ids import new_id
from app.core.streams import conversation_key
from app.core.texts import Locale
from app.experts import library as experts_library
from app.experts.library import ExpertLibrary
from app.gateway.gateway import Access, Gateway, build_gateway
from app.log.log import Log, open_log
from app.runs.accept import Conversations
from app.runs.finder import Finder
from app.runs.meetings import MeetingOptions, Meetings
from app.runs.operations import MODE as OPERATION
from app.runs.roster import Roster
from app.runs.runner import Runs
from app.settings import Settings
from app.skills import agent_files, library
from app.skills.agent_files import AgentLibrary
from app.skills.library import SkillLibrary
from app.tools import (
    ask_human,
    calculator,
    clock,
    fetch,
    files,
    operation_status,
    read_upload,
    search,
    shell,
)
from app.tools.folders import WorkFolders
from app.tools.toolbox import ToolBox
from projections import tasks, transcript
from projections.reads import ReadPool, read_pool
from projections.runner import ProjectionRunner

DRAIN_SECONDS = 10
CATCH_UP_SECONDS = 5.0
JSON_BYTES_MAX = 2 * 1024 * 1024

logger = structlog.get_logger(__name__)

__all__ = ["MinutebookServer", "build_app", "open_services"]


def keyring(settings: Settings) -> KeyRing:
    """The configured keys, hashed."""
    return KeyRing(
        (key.key_sha256 or digest_of(key.key), Principal(key.user, key.role)) for key in settings.api_keys
    )


def gateway_of(settings: Settings) -> Gateway:
    """Raises `ValueError` where a setting names no model, `LocalModelUnavailable` where it is not installed."""
    return build_gateway(
        settings.model,
        access={
            "openai": Access(settings.openai_base_url or None, settings.openai_api_key or None),
            "anthropic": Access(api_key=settings.anthropic_api_key or None),
        },
        recovery=settings.model_recovery,
        emergency=settings.model_emergency,
        retries=settings.model_retries,
        timeout_seconds=settings.model_timeout_seconds,
        prices=[(price.model, price.prompt_usd, price.completion_usd) for price in settings.model_prices],
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
        toolbox = await open_tools(stack, settings, reads, uploads)
        runs = Runs(
            log,
            gateway,
            toolbox,
            lease_seconds=settings.lease_seconds,
            deadline_seconds=settings.human_deadline_seconds,
            find_operation=lambda stream, name, arguments: find_operation(
                log, views, reads, stream, name, arguments
            ),
        )
        await runs.open()
        stack.push_async_callback(runs.close)
        finder = Finder(log, runs, lambda: tasks.open_tasks(reads))
        await finder.open()
        stack.push_async_callback(finder.close)
        conversations = Conversations(
            log,
            await asyncio.to_thread(roster_of, settings, toolbox),
            busy=settings.busy,
            tasks_max=settings.tasks_per_conversation,
            admit=runs.admit,
        )
        options = ApiOptions(settings.locale, settings.heartbeat_seconds, settings.feed_heartbeat_seconds)
        sockets = SocketRegistry(per_user_max=settings.sockets_per_user)
        yield (
            Services(
                options, keyring(settings), log, conversations, runs, views, reads, sockets, asyncio.Event()
            ),
            uploads,
        )


def roster_of(settings: Settings, toolbox: ToolBox) -> Roster:
    """The agents, skills and experts that ship, and those of the configured folders. Reads files."""
    default = Agent(
        settings.agent_name,
        settings.system_prompt or DEFAULT_PROMPT,
        limits=RunLimits(
            settings.max_steps,
            settings.run_timeout_seconds,
            settings.run_tokens_max or None,
            settings.run_cost_usd_max or None,
        ),
        max_history=settings.max_history,
        phases=settings.phases,
    )
    agents_dirs = [agent_files.SHIPPED, *([Path(settings.agents_dir)] if settings.agents_dir else [])]
    agents = AgentLibrary(agents_dirs, default=default, known_tools=toolbox.live_names)
    skills_dirs = [library.SHIPPED, *map(Path, settings.skills_dirs)]
    skills = SkillLibrary(skills_dirs, known_tools=toolbox.live_names)
    for notice in (*agents.notices, *skills.notices):
        logger.info("tools_missing", notice=notice)
    return Roster(toolbox, agents, skills, meetings_of(settings, skills), locale=settings.locale)


def meetings_of(settings: Settings, skills: SkillLibrary) -> Meetings:
    """The experts that ship and those of the configured folder, and who sits where nobody is named. Reads files."""
    folders = [experts_library.SHIPPED, *([Path(settings.experts_dir)] if settings.experts_dir else [])]
    experts = ExpertLibrary(folders, known_skills=lambda: skills.names)
    options = MeetingOptions(
        settings.default_board,
        settings.default_team,
        settings.board_rounds,
        settings.meeting_timeout_seconds,
    )
    meetings = Meetings(experts, skills, options)
    for notice in (*experts.notices, *meetings.notices):
        logger.info("experts_missing", notice=notice)
    return meetings


async def open_tools(stack: AsyncExitStack, settings: Settings, reads: ReadPool, uploads: Uploads) -> ToolBox:
    """The tools of this deployment; those of MCP servers join when their server is there."""

    async def find(owner: str, query: str, limit: int) -> Sequence[search.Hit]:
        found = await transcript.search(reads, owner, None, query, limit=limit)
        return [
            search.Hit(hit.conversation_id, hit.message.role, hit.message.content, hit.message.timestamp)
            for hit in found
        ]

    async def status(owner: str, operation_id: UUID) -> operation_status.OperationStatus | None:
        task = await tasks.get(reads, operation_id, owner=owner)
        if task is None or task.metadata.mode != OPERATION:
            return None
        output = task.output_data.message if task.output_data is not None else None
        return operation_status.OperationStatus(task.status, output)

    folders = WorkFolders(Path(settings.data_dir) / "work")
    tools = [
        calculator.tool(),
        clock.tool(),
        search.tool(find),
        read_upload.tool(uploads.read),
        ask_human.tool(settings.human_deadline_seconds),
        operation_status.tool(status),
        *files.tools(folders),
    ]
    if settings.fetch:
        tools.append(fetch.tool())
    if settings.shell:
        tools.append(
            shell.tool(folders, timeout_seconds=settings.shell_timeout_seconds, locale=settings.locale)
        )
    if not settings.mcp_servers:
        return ToolBox(tools)
    from app.tools.mcp import McpServers  # its library takes two seconds to import

    servers = McpServers(settings.mcp_servers, locale=settings.locale)
    toolbox = ToolBox(tools, arrival=servers.arrival)
    stack.push_async_callback(servers.close)
    await servers.start(toolbox.offer)
    return toolbox


async def find_operation(
    log: Log, views: ProjectionRunner, reads: ReadPool, stream: str, name: str, arguments: str
) -> UUID | None:
    """The open operation of this tool with these arguments, as of now."""
    key = conversation_key(stream)
    if key is None:
        return None
    partition = log.partition_of(stream)
    position = await log.reader.position(partition)
    await views.wait_for(position, CATCH_UP_SECONDS, "tasks", partition=partition)
    for task in await tasks.open_operations(reads, *key):
        if task.input_data.message == arguments:
            (requested,) = await log.reader.stream(stream, after=task.first_offset - 1, limit=1)
            event = requested.event()
            if isinstance(event, RunRequested) and [ref.spec.name for ref in event.tools] == [name]:
                return task.task_id
    return None


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
