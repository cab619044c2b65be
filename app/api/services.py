"""What the handlers work with. Built in `app/server.py`, handed to handlers as the dependency `services`."""

import asyncio

import msgspec

from app.api.news import News
from app.api.push import Inboxes
from app.api.sockets import SocketRegistry
from app.auth.administration import Administration
from app.auth.identities import Identities
from app.core.texts import Locale
from app.log.log import Log
from app.runs.accept import Conversations
from app.runs.push import Push
from app.runs.quotas import Quotas
from app.runs.reminder_clock import ReminderClock
from app.runs.reminders import Reminders
from app.runs.runner import Runs
from projections.reads import ReadPool
from projections.runner import ProjectionRunner


class ApiOptions(msgspec.Struct, frozen=True):
    """What of the settings the handlers need. Times in seconds; a heartbeat of 0 turns the time-out off, and so do 0
    frames a second with the limit.

    `auth_seconds`: for a socket's first frame where it came without a key. `drain_seconds`: from the signal to stop
    until every socket and stream is closed.
    """

    locale: Locale
    heartbeat_seconds: float
    feed_heartbeat_seconds: float
    auth_seconds: float = 10.0
    frames_per_second: float = 20.0
    drain_seconds: float = 10.0
    metrics_public: bool = False
    task_heartbeat_seconds: float = 60.0


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
    administration: Administration
    quotas: Quotas
    push: Push
    inboxes: Inboxes
    reminders: Reminders
    reminder_clock: ReminderClock
    news: News
