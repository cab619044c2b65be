"""Puts messages in the OpenAI shape into a conversation's history, all of them or none. No agent answers them."""

from collections.abc import Sequence
from uuid import UUID

import msgspec

from app.core import streams
from app.core.envelope import NewEvent, user_actor
from app.core.events import MessageAdded
from app.core.ids import derived_id, named_id
from app.core.openai_shape import Checked, InvalidShape, checked
from app.core.reasons import Reason
from app.log.errors import IdempotencyMismatch, LogOverloaded, OffsetConflict
from app.log.ids import new_id
from app.log.log import Appended, Log
from app.log.read import newest_first
from app.runs import refused
from app.runs.accept import check_client_message_id
from app.runs.turn import open_tasks
from app.transfer.openai_messages import OpenAIMessages

MESSAGES_MAX = 200
MESSAGE_BYTES_MAX = 1_000_000
ATTEMPTS_MAX = 20


class Added(msgspec.Struct, frozen=True):
    """Messages that are in the log, by their ids. `duplicate`: they were taken before, under the same client id."""

    message_ids: tuple[str, ...]
    last_offset: int
    last_position: int
    duplicate: bool = False


async def add_messages(
    log: Log,
    owner: str,
    conversation_id: str,
    messages: Sequence[msgspec.Raw],
    *,
    client_id: str | None = None,
    actor: str | None = None,
) -> Added:
    """Append 1-200 messages, each of at most 1 MB. With a `client_id` they are taken once, however often they are sent.

    The result of a tool needs an earlier message with its call, and a call takes one result. To see that, the whole
    conversation is read where a result is for a call that does not come with it.

    Raises `MessageMalformed`, `MessageTooLong`, `ToolCallUnknown`, `ToolCallAnswered`, `SessionIsClosed`,
    `ClientMessageIdInvalid`, `ClientMessageIdReused` (nothing was written), and the log's errors.
    """
    check_client_message_id(client_id)
    found = _checked(messages)
    stream = streams.conversation(owner, conversation_id)
    seed = new_id() if client_id is None else named_id("message", stream, client_id)
    events = [
        NewEvent(
            derived_id(seed, "added", n),
            MessageAdded(_message_id(seed, n), one.message),
            actor or user_actor(owner),
        )
        for n, one in enumerate(found)
    ]
    key = None if client_id is None else f"message/{client_id}"
    try:
        appended = await _append(log, stream, conversation_id, found, events, key)
    except IdempotencyMismatch:
        raise refused.ClientMessageIdReused(id=client_id) from None
    ids = tuple(_message_id(seed, n) for n in range(len(found)))
    return Added(ids, appended.last_offset, appended.last_position, appended.duplicate)


async def _append(
    log: Log,
    stream: str,
    conversation_id: str,
    found: Sequence[Checked],
    events: Sequence[NewEvent],
    key: str | None,
) -> Appended:
    """On the condition that nothing has changed since it was looked whether the messages fit."""
    for attempt in range(ATTEMPTS_MAX):
        now = await open_tasks(log.reader, stream)
        try:
            if now.closed:
                raise refused.SessionIsClosed(id=conversation_id[:80])
            await _demand_calls(log, stream, now.head, found)
        except refused.Refused:
            if key is not None and await _is_there(log, stream, events[0].id):
                return await log.append(stream, events, idempotency_key=key)
            raise
        # A run may append faster than anybody can look: the last attempt goes without the condition.
        expected = now.head if attempt < ATTEMPTS_MAX - 1 else None
        try:
            return await log.append(stream, events, expected_offset=expected, idempotency_key=key)
        except OffsetConflict:  # somebody else was first
            continue
    raise LogOverloaded("the conversation changes faster than messages can be added")


async def _demand_calls(log: Log, stream: str, head: int, found: Sequence[Checked]) -> None:
    """Raises `ToolCallUnknown`, `ToolCallAnswered`."""
    known: tuple[set[str], set[str]] | None = None
    open_calls, answered = set[str](), set[str]()
    for one in found:
        open_calls |= set(one.call_ids)
        answered -= set(one.call_ids)
        if one.answers is None:
            continue
        if one.answers not in open_calls and one.answers not in answered and known is None:
            known = await _calls_before(log, stream, head)
            open_calls, answered = open_calls | known[0], answered | (known[1] - open_calls)
        if one.answers in open_calls:
            open_calls.remove(one.answers)
            answered.add(one.answers)
        elif one.answers in answered:
            raise refused.ToolCallAnswered(id=one.answers[:80])
        else:
            raise refused.ToolCallUnknown(id=one.answers[:80])


async def _calls_before(log: Log, stream: str, head: int) -> tuple[set[str], set[str]]:
    messages = OpenAIMessages()
    async for recorded in log.reader.all_of(stream, until=head):
        messages.add(recorded)
    return messages.calls()


async def _is_there(log: Log, stream: str, event_id: UUID) -> bool:
    async for recorded in newest_first(log.reader, stream):
        if recorded.id == event_id:
            return True
    return False


def _checked(messages: Sequence[msgspec.Raw]) -> list[Checked]:
    if not 1 <= len(messages) <= MESSAGES_MAX:
        counted = Reason("messages_count", {"limit": MESSAGES_MAX, "count": len(messages)})
        raise refused.MessageMalformed(field="messages", reason=counted)
    found: list[Checked] = []
    for n, message in enumerate(messages):
        if len(bytes(message)) > MESSAGE_BYTES_MAX:
            raise refused.MessageTooLong(size=len(bytes(message)), limit=MESSAGE_BYTES_MAX)
        try:
            found.append(checked(message))
        except InvalidShape as error:
            place = f"messages[{n}]" if len(messages) > 1 else "message"
            field = f"{place}.{error.field}" if error.field else place
            raise refused.MessageMalformed(field=field, reason=error.reason) from None
    return found


def _message_id(seed: UUID, number: int) -> str:
    return str(derived_id(seed, "message", number))
