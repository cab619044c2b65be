"""The composition root: the only place, with its parts in `app/composition/`, that builds things and knows all of
them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from litestar import Litestar

from app.api.services import ApiOptions, Services
from app.api.sockets import SocketRegistry
from app.api.uploads import Uploads
from app.auth.identities import Identities
from app.auth.principal import KeyRing, Principal, digest_of
from app.composition.agents import gateway_of, roster_of
from app.composition.tools import find_operation, open_tools
from app.composition.web import MinutebookServer, application, server_config
from app.core.ids import new_id
from app.gateway.gateway import Gateway
from app.log.log import open_log
from app.runs.accept import Conversations
from app.runs.finder import Finder
from app.runs.runner import Runs
from app.settings import Settings
from projections import tasks
from projections.reads import read_pool
from projections.runner import ProjectionRunner

__all__ = ["MinutebookServer", "build_app", "gateway_of", "open_services", "server_config"]


def keyring(settings: Settings) -> KeyRing:
    """The configured keys, hashed."""
    return KeyRing(
        (key.key_sha256 or digest_of(key.key), Principal(key.user, key.role)) for key in settings.api_keys
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
                options,
                Identities(keyring(settings)),
                log,
                conversations,
                runs,
                views,
                reads,
                sockets,
                asyncio.Event(),
            ),
            uploads,
        )


def build_app(settings: Settings, dsn: str, gateway: Gateway) -> Litestar:
    """The ASGI application over this database; its lifespan opens and closes the services."""
    return application(settings, lambda: open_services(settings, dsn, gateway))
