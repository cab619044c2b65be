"""Past experiences for a run: looked for once, at its beginning, and on record before the first model call.

    claimed ──► asked for? ──► looked for, at most 3 s ──► run.lessons_given ──► the mode, shown what the event says
                                └──► behind, late, away: the event says so, and there are none

Whoever takes the run up again shows what the event says and never looks again. Who died before it was written looks
once more, and no model has been asked by then. So all model calls of a run are shown the same, and so is every replay.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal
from uuid import UUID

import msgspec
import structlog

from app.core.events import LessonsGiven, RunRequested
from app.core.lessons import Lesson, shown
from app.core.meeting_events import BOARD_MODE
from app.core.streams import conversation_key
from app.runs.entry import Entry
from app.runs.ledger import Ledger
from app.runs.record import RunRecord

SEARCH_SECONDS_MAX = 3.0
ABANDON_SECONDS = 1.0
EVENT_NAME = "lessons"
FindLessons = Callable[[str, UUID, RunRequested], Awaitable[Sequence[Lesson]]]
"""The most relevant past experiences of this owner for this task, at most `lessons` of them, the best first. Raises
`LessonsMissing`."""
Found = Sequence[Lesson] | Literal["behind", "late", "unavailable"]

logger = structlog.get_logger(__name__)


class LessonsMissing(Exception):
    """It cannot be looked for: the views are `behind`, or `unavailable`."""

    def __init__(self, problem: Literal["behind", "unavailable"]) -> None:
        super().__init__(f"past experiences cannot be looked for: {problem}")
        self.problem: Literal["behind", "unavailable"] = problem


def with_lessons(requested: RunRequested, lessons: int) -> RunRequested:
    """The request of the task, with how many past experiences it may be shown. A board speaks from its experts' cards
    alone, so it is shown none."""
    if not lessons or requested.mode == BOARD_MODE:
        return requested
    return msgspec.structs.replace(requested, lessons=lessons)


async def give_lessons(find: FindLessons | None, entry: Entry, record: RunRecord, ledger: Ledger) -> None:
    """Put on record what past experience teaches, where the run asks for it and nothing is on record yet.

    Takes at most 4 s and does not fail for the search; not at all once the run is stopped. Raises `LeaseLost` and
    `LogUnavailable`.
    """
    if not record.requested.lessons or record.lessons is not None or record.steps:
        return
    found = await _found(find, entry, record)
    if found is None:
        return
    if isinstance(found, str):
        given = LessonsGiven(problem=found)
    else:
        told = shown(found)
        given = LessonsGiven(told.ids, told.text)
    await ledger.append([ledger.event(given, EVENT_NAME)])
    record.lessons = given


async def _found(find: FindLessons | None, entry: Entry, record: RunRecord) -> Found | None:
    """None: the run was stopped meanwhile."""
    key = conversation_key(entry.stream)
    if find is None or key is None:
        return "unavailable"
    search = asyncio.ensure_future(find(key.owner, record.task_id, record.requested))
    try:
        await asyncio.wait(
            {search, entry.stopped}, timeout=SEARCH_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
        )
        if entry.stopped.done():
            return None
        if not search.done():
            logger.warning("lessons_late", task_id=str(record.task_id))
            return "late"
        return search.result()
    except LessonsMissing as missing:
        logger.warning("lessons_missing", task_id=str(record.task_id), problem=missing.problem)
        return missing.problem
    except Exception:
        logger.warning("lessons_broke", task_id=str(record.task_id), exc_info=True)
        return "unavailable"
    finally:
        await _let_go(search)


async def _let_go(search: asyncio.Future[Sequence[Lesson]]) -> None:
    """End it. A query whose database says nothing may take its time over that: nobody waits for it then."""
    if search.done():
        return
    search.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    search.cancel()
    await asyncio.wait({search}, timeout=ABANDON_SECONDS)
