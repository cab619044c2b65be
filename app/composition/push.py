"""Pushes and reminders of this deployment."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime

from app.api.push import Inboxes
from app.api.views import caught_up
from app.auth.administration import Administration
from app.core import streams
from app.core.texts import Locale
from app.log.log import Log
from app.runs.accept import Conversations
from app.runs.push import Push
from app.runs.quotas import Charge, Quotas
from app.runs.refused import Refused
from app.runs.reminder_clock import ReminderClock
from app.runs.reminders import Due, Reminders
from app.runs.runner import Runs
from projections import reminders as view
from projections.reads import ReadPool
from projections.runner import ProjectionRunner


class OwnerDisabled(Refused):
    """Whoever set the schedule may not use the service any more."""

    key = "reminder_owner_disabled"


class ReminderBook:
    """The view of reminders, as `Reminders` asks it."""

    def __init__(self, log: Log, views: ProjectionRunner, reads: ReadPool) -> None:
        self._log = log
        self._views = views
        self._reads = reads

    async def caught_up(self, owner: str) -> None:
        """Raises `ProjectionLag` after 5 s, `LogUnavailable`."""
        await caught_up(self._log, self._views, "reminders", stream=streams.user(owner))

    async def get(self, owner: str, reminder_id: str) -> view.Reminder | None:
        return await view.get(self._reads, owner, reminder_id)

    async def count_open(self, owner: str) -> int:
        return await view.count_open(self._reads, owner)

    async def due(self, until: datetime, without: Sequence[str]) -> list[view.Reminder]:
        return await view.due(self._reads, until, without=without)

    async def next_due(self, after: datetime) -> datetime | None:
        return await view.next_due(self._reads, after)


async def open_push(
    stack: AsyncExitStack,
    log: Log,
    views: ProjectionRunner,
    reads: ReadPool,
    conversations: Conversations,
    runs: Runs,
    administration: Administration,
    quotas: Quotas,
    *,
    locale: Locale,
) -> tuple[Push, Inboxes, Reminders, ReminderClock]:
    """Call it when runs may begin; the clock begins to look at once."""
    push = Push(log)
    inboxes = Inboxes(log, views, reads, push)
    stack.push_async_callback(inboxes.close)
    book = ReminderBook(log, views, reads)

    async def give(due: Due, client_message_id: str) -> str:
        """As if its owner had sent it, who also pays for it."""
        user = (await administration.read()).user(due.owner)
        if user is not None and user.disabled:
            raise OwnerDisabled
        department_id, bound = await quotas.membership(due.owner)
        accepted = await conversations.accept(
            due.owner,
            due.text,
            due.conversation_id,
            agent=due.agent_name,
            client_message_id=client_message_id,
            charge=Charge(department_id, department_id if bound else "", bound),
        )
        runs.start(accepted)
        return str(accepted.task_id)

    reminders = Reminders(log, book, give, conversations.roster.find_agent, locale=locale)
    clock = ReminderClock(reminders, book.due, book.next_due)
    log.wakeups.on_any(clock.stir)
    await clock.open()
    stack.push_async_callback(clock.close)
    return push, inboxes, reminders, clock
