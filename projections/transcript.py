"""The messages of a conversation as people see them; a page reload rebuilds every card from these rows alone.

One row a message. A user's message is shown when it is received. A run shows one assistant message: its row is made,
hidden, when the run is requested, gathers routing, thinking and tool calls, and is shown at the event that ends it:

    message.answered      the answer                                 no `status`
    message.interrupted   what there was of it, if anything          `status` "interrupted"; `error` if it failed
    run.failed            the sentence that says why                 `status` "failed", if nothing was shown before
    run.cancelled         the locale's sentence for it               `status` "cancelled", if nothing was shown before

What is said in a board is a message each (`transcript_meetings.py`). A task whose message another one heard shows
nothing of its own. The call of a long-running tool says `operation_pending` until the operation's result takes the
place of that.

Messages that were imported or that clients have added are shown by their role; those of roles other than user and
assistant only to readers who ask. A deletion of the conversation removes all of its rows; what a run from before the
deletion says after it is not shown.
"""

from typing import Any, assert_never, get_args
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    ConversationDeleted,
    Event,
    MeetingNote,
    MessageAdded,
    MessageAnswered,
    MessageImported,
    MessageInterrupted,
    MessageReceived,
    OperationFinished,
    RunCancelled,
    RunFailed,
    RunMerged,
    RunRequested,
)
from app.core.meeting_cards import cast_of
from app.core.steps import step_of
from app.core.texts import Locale, text
from projections.imported import ImportedMessage, read_imported
from projections.projection import Key, Projection, conversation_key, event_types
from projections.transcript_cards import (
    Card,
    Metadata,
    Shown,
    ToolCard,
    Working,
    changed,
    joined,
    with_step,
    worked,
)
from projections.transcript_meetings import (
    Childlike,
    Said,
    member,
    message_key,
    noted,
    of_children,
    said,
)
from projections.transcript_reads import Found, Message, Page, added, listed, page, search

__all__ = ["PROJECTION", "Card", "Found", "Message", "Page", "added", "apply", "listed", "page", "search"]

ERROR_CHARS_MAX = 200
# The index leaves out what is not searched. A tsvector has at most 1 MiB, which 100 000 characters never fill.
DDL = """
CREATE TABLE IF NOT EXISTS transcript (
    owner text NOT NULL,
    conversation_id text NOT NULL,
    message_key text NOT NULL,
    id text NOT NULL,
    role text NOT NULL,
    content text NOT NULL,
    shown_at timestamptz,
    shown_offset bigint,
    first_offset bigint NOT NULL,
    last_offset bigint NOT NULL,
    tool_call_id text,
    locale text NOT NULL,
    metadata json NOT NULL,
    PRIMARY KEY (owner, conversation_id, message_key)
) WITH (fillfactor = 90);
CREATE INDEX IF NOT EXISTS transcript_shown ON transcript (owner, conversation_id, shown_offset)
    WHERE shown_offset IS NOT NULL;
CREATE INDEX IF NOT EXISTS transcript_changed ON transcript (owner, conversation_id, last_offset);
CREATE INDEX IF NOT EXISTS transcript_words ON transcript USING gin (to_tsvector('simple', left(content, 100000)))
    WHERE shown_offset IS NOT NULL AND role IN ('user', 'assistant');
"""


def key_of(recorded: Recorded, event: Event) -> Key | None:
    conversation = conversation_key(recorded.stream)
    if conversation is None:
        return None
    match event:
        case MessageReceived():
            key = f"message/{event.message_id}"
        case MessageImported():
            key = f"imported/{event.index}"
        case MessageAdded():
            key = f"added/{event.message_id}"
        case OperationFinished():  # belongs to the message whose call started it
            if not event.parent:
                return None
            key = f"task/{UUID(event.parent).hex}"
        case _ if recorded.task_id is not None and isinstance(event, Said):
            key = message_key(recorded.task_id, event)
        case _ if recorded.task_id is not None:
            key = f"task/{recorded.task_id.hex}"
        case MessageAnswered() | MessageInterrupted():
            key = f"message/{event.message_id}"
        case _:
            return None
    return (*conversation, key)


def apply(row: Card | None, recorded: Recorded, event: Event) -> Card | None:
    match event:
        case MessageReceived() | MessageImported() | MessageAdded() | RunRequested():
            return _first(recorded, event)
        case _ if isinstance(event, Said):
            return said(_begun(recorded, event, "assistant"), recorded, event)
        case MessageAnswered() | MessageInterrupted() if row is None and recorded.task_id is None:
            return _answered(_begun(recorded, event, "assistant"), recorded, event)
        case _ if row is None:  # of a run from before a deletion
            return None
        case MessageAnswered() | MessageInterrupted():
            return _answered(row, recorded, event)
        case RunFailed() | RunCancelled():
            return _ended(row, recorded, event)
        case RunMerged():
            return row if row.shown_offset is not None else None
        case _:
            return _going_on(row, recorded, event)


def _first(
    recorded: Recorded, event: MessageReceived | MessageImported | MessageAdded | RunRequested
) -> Card | None:
    """What begins a row."""
    match event:
        case MessageReceived():
            metadata = Metadata(client_message_id=event.client_message_id, sources=event.sources)
            return _shown(
                _begun(recorded, event, "user"), recorded, event.message_id, event.content, metadata
            )
        case MessageImported():
            row, message_id = _begun(recorded, event, "user"), str(recorded.id)
            return _imported(row, recorded, read_imported(event.message), message_id)
        case MessageAdded():
            row, message_id = _begun(recorded, event, "user"), event.message_id
            return _imported(row, recorded, read_imported(event.message), message_id)
        case RunRequested(parent=None):
            return _requested(_begun(recorded, event, "assistant"), recorded, event)
        case RunRequested(mode="operation"):  # its result is told in the card of the call
            return None
        case RunRequested():
            return member(_begun(recorded, event, "expert"), recorded, event)
        case _ as never:
            assert_never(never)


def _going_on(row: Card, recorded: Recorded, event: Event) -> Card:
    """What a run does before its end."""
    if isinstance(event, Working):
        return worked(row, recorded, event)
    if isinstance(event, Shown):
        return with_step(row, recorded, step_of(event))
    if isinstance(event, MeetingNote):
        return noted(row, recorded, event)
    return of_children(row, recorded, event) if isinstance(event, Childlike) else row


def _begun(recorded: Recorded, event: Event, role: str) -> Card:
    key = key_of(recorded, event)
    if key is None:
        raise ValueError(f"{recorded.type} has no message of its own")
    offset = recorded.offset
    return Card(*key, id=str(recorded.id), role=role, content="", first_offset=offset, last_offset=offset)


def _requested(row: Card, recorded: Recorded, event: RunRequested) -> Card:
    metadata = Metadata(
        task_id=recorded.task_id,
        matched_skill=event.skill or event.agent,
        confidence=event.confidence,
        routing_method=event.method,
        mode=event.mode,
        agent=event.agent,
        model=event.model,
        experts=cast_of(event.experts),
    )
    locale: Locale = "zh" if event.locale == "zh" else "en"
    return msgspec.structs.replace(row, locale=locale, metadata=metadata)


def _imported(row: Card, recorded: Recorded, message: ImportedMessage, message_id: str) -> Card:
    metadata = Metadata(
        name=message.name,
        tool_call_id=message.tool_call_id,
        refusal=message.refusal,
        tool_calls=tuple(_imported_call(call) for call in message.tool_calls or ()),
    )
    row = msgspec.structs.replace(row, role=message.role, tool_call_id=message.tool_call_id)
    return _shown(row, recorded, message_id, message.text, metadata)


def _imported_call(call: dict[str, Any]) -> ToolCard:
    function: dict[str, Any] = call.get("function") or call.get("custom") or {}
    arguments = function.get("arguments", function.get("input", ""))
    return ToolCard(str(call.get("id", "")), str(function.get("name", "")), str(arguments))


def _answered(row: Card, recorded: Recorded, event: MessageAnswered | MessageInterrupted) -> Card:
    if row.metadata.parent is not None:  # a member's run has no message
        return row
    if isinstance(event, MessageInterrupted):
        if not event.content.strip() and recorded.task_id is not None:
            return msgspec.structs.replace(row, id=event.message_id, last_offset=recorded.offset)
        metadata = msgspec.structs.replace(row.metadata, status="interrupted")
    else:
        thinking = joined(row.metadata.thinking, event.thinking)
        metadata = msgspec.structs.replace(row.metadata, fallback=event.fallback, thinking=thinking)
    return _shown(row, recorded, event.message_id, event.content, metadata)


def _ended(row: Card, recorded: Recorded, event: RunFailed | RunCancelled) -> Card:
    if isinstance(event, RunFailed):
        status, content = "failed", event.message[:ERROR_CHARS_MAX]
        fields = {"error": content, "error_class": event.error_class}
    else:
        status, content, fields = "cancelled", text("cancelled", row.locale), {}
    if row.metadata.parent is not None:  # a member's run is never shown by itself
        return changed(row, recorded, status=status, **fields)
    if row.shown_offset is not None:
        return changed(row, recorded, **fields)
    metadata = msgspec.structs.replace(row.metadata, status=status, **fields)
    return _shown(row, recorded, row.id, content, metadata)


def _shown(row: Card, recorded: Recorded, message_id: str, content: str, metadata: Metadata) -> Card:
    return msgspec.structs.replace(
        row,
        id=message_id,
        content=content,
        shown_at=recorded.recorded_at,
        shown_offset=recorded.offset,
        last_offset=recorded.offset,
        metadata=msgspec.structs.replace(metadata, offset=recorded.offset),
    )


PROJECTION = Projection(
    name="transcript",
    version=5,
    row=Card,
    ddl=DDL,
    key=("owner", "conversation_id", "message_key"),
    handles=event_types(
        ConversationDeleted,
        MessageReceived,
        MessageImported,
        MessageAdded,
        MessageAnswered,
        MessageInterrupted,
        RunRequested,
        RunFailed,
        RunCancelled,
        RunMerged,
        *get_args(Working),
        *get_args(Shown),
        *get_args(MeetingNote),
        *get_args(Childlike),
    ),
    key_of=key_of,
    apply=apply,
    begins=event_types(MessageReceived, MessageImported, MessageAdded, RunRequested, *get_args(Said)),
    forgets=event_types(ConversationDeleted),
    scope=("owner", "conversation_id"),
    scope_of=lambda recorded: conversation_key(recorded.stream),
)
