"""What the handlers work with. Built in `app/server.py`, handed to handlers as the dependency `services`."""

import asyncio

import msgspec

from app.api.sockets import SocketRegistry
from app.auth.identities import Identities
from app.core.texts import Locale
from app.log.log import Log
from app.runs.accept import Conversations
from app.runs.runner import Runs
from projections.reads import ReadPool
from projections.runner import ProjectionRunner


class ApiOptions(msgspec.Struct, frozen=True):
    """What of the settings the handlers need. Times in seconds; a heartbeat of 0 turns the time-out off."""

    locale: Locale
    heartbeat_seconds: float
    feed_heartbeat_seconds: float


class Services(msgspec.Struct, frozen=True):
    """Everything a handler may call. `stopping` is set when the server begins to shut down: streams then end."""

    options: ApiOptions
    identities: Identities
    log: Log
    conversations: Conversations
    runs: Runs
    views: ProjectionRunner
    reads: ReadPool
    sockets: SocketRegistry
    stopping: asyncio.Event
