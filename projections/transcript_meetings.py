"""What the events of boards and teams make of the transcript.

    board.started            a message of its own               `message_type` "board_started"
    board.expert_spoke       a message of its own               "board_speech"
    board.round_summarized   a message of its own               "board_summary"
    board.concluded          the board's answer says it         "board_conclusion"
    everything else          step cards of the board's or team's answer

The messages of a meeting have their task's key with the step behind it, and are shown only where the task's own row is
there: a deletion forgets that one for good. The run of a team's member has a row that is never shown; readers find what
it did in `expert_runs` of the team's answer.
"""

from typing import Any, assert_never
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    BoardConcluded,
    BoardStarted,
    ChildAnswered,
    ChildStarted,
    ExpertSpoke,
    MeetingNote,
    RoundSummarized,
    RunRequested,
    TeamFormed,
)
from app.core.meeting_cards import cast_of, meeting_card
from projections.transcript_cards import Card, Metadata, changed, with_step

Said = BoardStarted | ExpertSpoke | RoundSummarized
"""Notes of meetings that are messages of their own; the others change the card of the board's or team's answer."""
Childlike = ChildStarted | ChildAnswered


def message_key(task_id: UUID, event: Said) -> str:
    """Of a message of a meeting: behind its task's."""
    return f"task/{task_id.hex}/{event.step:06}"


def said(row: Card, recorded: Recorded, event: Said) -> Card:
    """The message of a meeting that this event is. Names and faces are those of the task's experts: see the reads."""
    metadata = Metadata(offset=recorded.offset, task_id=recorded.task_id)
    content, more = _of(event, recorded)
    return msgspec.structs.replace(
        row,
        content=content,
        shown_at=recorded.recorded_at,
        shown_offset=recorded.offset,
        metadata=msgspec.structs.replace(metadata, **more),
    )


def _of(event: Said, recorded: Recorded) -> tuple[str, dict[str, Any]]:
    match event:
        case BoardStarted():
            data = meeting_card(event, (), str(recorded.task_id)).data
            return event.topic, {"message_type": "board_started", "board_started": data}
        case ExpertSpoke():
            more: dict[str, Any] = {"board_round": event.round, "board_role": event.role}
            if event.interrupted:
                more["status"] = "interrupted"
            return event.content, {"message_type": "board_speech", "expert_id": event.expert_id, **more}
        case RoundSummarized():
            more = {"board_round": event.round, "board_role": "moderator", "consensus": event.consensus}
            return event.content, {"message_type": "board_summary", "expert_id": event.expert_id, **more}
        case _ as never:
            assert_never(never)


def noted(row: Card, recorded: Recorded, event: MeetingNote) -> Card:
    """The board's or team's card with this note."""
    fields: dict[str, Any] = {}
    if isinstance(event, TeamFormed):
        fields["experts"] = cast_of(event.experts)
    cast = fields.get("experts", row.metadata.experts)
    card = meeting_card(event, cast, str(recorded.task_id))
    if isinstance(event, BoardConcluded):
        return changed(row, recorded, message_type="board_conclusion", board_conclusion=card.data)
    return with_step(row, recorded, card, **fields)


def of_children(row: Card, recorded: Recorded, event: Childlike) -> Card:
    """The team's card with one more child run, or the child run's with what it came to."""
    match event:
        case ChildStarted():
            return changed(row, recorded, children=(*row.metadata.children, event.child))
        case ChildAnswered():
            return msgspec.structs.replace(row, content=event.content, last_offset=recorded.offset)
        case _ as never:
            assert_never(never)


def member(row: Card, recorded: Recorded, event: RunRequested) -> Card:
    """The row of a member's run."""
    metadata = Metadata(
        task_id=recorded.task_id,
        mode=event.mode,
        agent=event.agent,
        expert_id=event.expert_id,
        parent=event.parent,
    )
    return msgspec.structs.replace(row, role="expert", metadata=metadata)
