"""`as_of` of reading calls: what was to be read at a moment of the past, exactly as it was (docs/past.md)."""

import re
from typing import Annotated, TypeAlias
from uuid import UUID

from litestar.exceptions import NotFoundException
from litestar.params import Parameter

from app.api.queries import SHOWN_CHARS_MAX, InvalidQuery, read_time
from app.api.services import Services
from app.api.views import caught_up
from app.auth.principal import Principal
from app.core.texts import text
from projections import past_reads
from projections.moments import AsOf, AtOffset, AtPosition, AtTime, Moment, MomentToCome, find_moment
from projections.tasks import Task

VIEWS = ("conversations", "transcript", "tasks", "experiences")
HEADER = "X-As-Of"
"""Of every answer with `as_of`: the moment as an offset of the conversation's stream."""
_NUMBER = re.compile(r"(offset|position):([0-9]{1,18})", re.ASCII)
_MEANT_AS_TIME = re.compile(r"\s*\d+-\d.*", re.ASCII | re.DOTALL)

AsOfText: TypeAlias = Annotated[
    str | None,
    Parameter(
        description="as it was at a moment: `offset:120` of the conversation's events, `position:4711` of the log, or "
        "a time (RFC 3339, with its zone; a plus sign is written %2B). The header X-As-Of of the answer tells it as an "
        "offset"
    ),
]


def parse_as_of(given: str) -> AsOf:
    """Raises `InvalidQuery`."""
    if (number := _NUMBER.fullmatch(given)) is not None:
        value = int(number[2])
        return AtOffset(value) if number[1] == "offset" else AtPosition(value)
    if _MEANT_AS_TIME.fullmatch(given) is not None:
        return AtTime(read_time("as_of", given))
    raise InvalidQuery("as_of_invalid", given=given[:SHOWN_CHARS_MAX])


async def moment_of(services: Services, owner: str, conversation_id: str, as_of: str) -> Moment:
    """The moment, with the views at it or behind it. Raises 404 where there never was such a conversation,
    `InvalidQuery` also for what is to come, `InvalidConversationId`."""
    wanted = parse_as_of(as_of)
    try:
        moment = await find_moment(services.reads, owner, conversation_id, wanted)
    except MomentToCome:
        begin = await find_moment(services.reads, owner, conversation_id, AtOffset(0))
        head = 0 if begin is None else begin.head
        raise InvalidQuery("as_of_to_come", given=as_of[:SHOWN_CHARS_MAX], head=head) from None
    if moment is None:
        raise no_conversation(services, conversation_id)
    await caught_up(services.log, services.views, *VIEWS, stream=moment.stream)
    return moment


def no_conversation(services: Services, conversation_id: str) -> NotFoundException:
    return NotFoundException(text("no_conversation", services.options.locale, id=conversation_id[:80]))


async def task_as_of(
    services: Services, principal: Principal, task_id: str, as_of: str
) -> tuple[Task, Moment]:
    """The task's record of then, also where it was deleted since. Raises 404 for what was not a task then that the
    caller may see, and what `moment_of` raises."""
    parse_as_of(as_of)
    unknown = NotFoundException(text("no_task_of_yours", services.options.locale, id=task_id[:80]))
    try:
        known = UUID(task_id)
    except ValueError:
        raise unknown from None
    await caught_up(services.log, services.views, *VIEWS)
    owner = None if principal.sees_all else principal.user_id
    place = await past_reads.place_of_task(services.reads, known, owner=owner)
    if place is None:
        raise unknown
    moment = await moment_of(services, *place, as_of)
    task = await past_reads.task_at(services.reads, moment, known)
    if task is None:
        raise unknown
    return task, moment


def headers(moment: Moment | None) -> dict[str, str]:
    """Of an answer; None: as it is now."""
    return {} if moment is None else {HEADER: f"offset:{moment.offset}"}
