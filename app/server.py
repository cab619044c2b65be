"""The composition root: the only place, with its parts in `app/composition/`, that builds things and knows all of
them."""

import asyncio
import signal
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from litestar import Litestar

from app.api.news import News
from app.api.services import ApiOptions, Services
from app.api.sockets import SocketRegistry
from app.api.uploads import Uploads
from app.composition.agents import gateway_of, roster_of
from app.composition.checking import open_checks
from app.composition.finding import finder_of
from app.composition.identities import open_identities
from app.composition.lessons import LessonFinder
from app.composition.push import open_push
from app.composition.quotas import UsageMeter
from app.composition.tools import find_operation, open_tools
from app.composition.web import MinutebookServer, application, server_config
from app.files.store import FileStore
from app.gateway.gateway import Gateway
from app.log.ids import new_id
from app.log.log import open_log
from app.runs.accept import Conversations
from app.runs.quotas import Quotas
from app.runs.runner import Runs
from app.settings import Settings
from app.telemetry import tracing
from projections.reads import read_pool
from projections.runner import ProjectionRunner

__all__ = ["MinutebookServer", "build_app", "gateway_of", "open_services", "server_config"]


@asynccontextmanager
async def open_services(
    settings: Settings, dsn: str, gateway: Gateway
) -> AsyncGenerator[tuple[Services, Uploads]]:
    """Everything that handlers use, closed in the opposite order."""
    async with AsyncExitStack() as stack:
        node_id = str(new_id())
        if settings.otel_endpoint:
            tracing.open_tracing(settings.otel_endpoint, node_id)
            stack.push_async_callback(asyncio.to_thread, tracing.close_tracing)
        log = await open_log(dsn, node_id=node_id, on_replaced=lambda: signal.raise_signal(signal.SIGTERM))
        stack.push_async_callback(log.close)
        identities, administration = await open_identities(stack, settings, log)
        views = ProjectionRunner(dsn)
        await asyncio.to_thread(views.start)
        stack.push_async_callback(asyncio.to_thread, views.close)
        log.wakeups.on_any(views.wake)
        reads = await stack.enter_async_context(read_pool(dsn))
        uploads = Uploads(FileStore(Path(settings.data_dir) / "uploads"), log, views, reads)
        await uploads.open()
        stack.push_async_callback(gateway.close)
        await gateway.load()
        toolbox = await open_tools(stack, settings, reads, uploads)
        quotas = Quotas(administration.followed, UsageMeter(log, views, reads), log.exclusively)
        runs = Runs(
            log,
            gateway,
            toolbox,
            lease_seconds=settings.lease_seconds,
            deadline_seconds=settings.human_deadline_seconds,
            find_operation=lambda stream, name, arguments: find_operation(
                log, views, reads, stream, name, arguments
            ),
            quotas=quotas,
            find_lessons=LessonFinder(log, views, reads).find,
        )
        await runs.open()
        stack.push_async_callback(runs.close)
        finder = finder_of(log, runs, reads)
        await finder.open()
        stack.push_async_callback(finder.close)
        conversations = Conversations(
            log,
            await asyncio.to_thread(roster_of, settings, toolbox),
            busy=settings.busy,
            tasks_max=settings.tasks_per_conversation,
            admit=runs.admit,
            quotas=quotas,
            describe=uploads.described,
        )
        options = ApiOptions(
            settings.locale,
            settings.heartbeat_seconds,
            settings.feed_heartbeat_seconds,
            task_heartbeat_seconds=settings.task_heartbeat_seconds,
            auth_seconds=settings.auth_seconds,
            frames_per_second=settings.socket_frames_per_second,
            drain_seconds=settings.drain_seconds,
            metrics_public=settings.metrics_public,
        )
        stopping = asyncio.Event()
        await open_checks(stack, log, reads, dsn, every_hours=settings.check_every_hours, stopping=stopping)
        news = News()
        log.wakeups.on_any(news.stir)
        sockets = SocketRegistry(per_user_max=settings.sockets_per_user)
        pushing = await open_push(
            stack,
            log,
            views,
            reads,
            conversations,
            runs,
            administration,
            quotas,
            locale=settings.locale,
        )
        yield (
            Services(
                options,
                identities,
                log,
                conversations,
                runs,
                views,
                reads,
                sockets,
                stopping,
                administration,
                quotas,
                *pushing,
                news,
            ),
            uploads,
        )


def build_app(settings: Settings, dsn: str, gateway: Gateway) -> Litestar:
    """The ASGI application over this database; its lifespan opens and closes the services."""
    if settings.otel_endpoint:
        tracing.demand()
    return application(settings, lambda: open_services(settings, dsn, gateway))
