"""What experiences were about, in words: the goal, what came of it, what went wrong. One row a task, and one an
imported conversation; a deletion of the conversation removes them.

`terms` are the goal's words as they are searched: lower case, Chinese and Japanese text as pairs of characters, for a
full-text search of Postgres takes a sentence without spaces for one word.
"""

import re
from uuid import UUID

import msgspec

from app.core.envelope import Recorded
from app.core.events import (
    ChildAnswered,
    ConversationDeleted,
    ConversationImported,
    Event,
    MessageAnswered,
    MessageImported,
    MessageInterrupted,
    OperationFinished,
    RunFailed,
    RunRequested,
)
from projections.experience_imports import imported_id
from projections.imported import read_imported
from projections.projection import Key, Projection, conversation_key, event_types, owned_by

GOAL_CHARS_MAX = 200
RESULT_CHARS_MAX = 500
TERMS_MAX = 60

_WORDS = re.compile(r"[^\W_]+")
_WITHOUT_SPACES = re.compile(r"[぀-ヿ㐀-䶿一-鿿]+")

DDL = """
CREATE TABLE IF NOT EXISTS experience_texts (
    id uuid PRIMARY KEY,
    owner text NOT NULL,
    conversation_id text NOT NULL,
    goal text NOT NULL,
    terms text NOT NULL,
    result text NOT NULL,
    problem text NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX IF NOT EXISTS experience_texts_conversation ON experience_texts (owner, conversation_id);
CREATE INDEX IF NOT EXISTS experience_texts_terms ON experience_texts USING gin (to_tsvector('simple', terms));
"""


class ExperienceText(msgspec.Struct, frozen=True):
    """`goal`: at most 200 characters of what was asked. `result`: at most 500 of the answer. `problem`: why it failed,
    as people were told."""

    id: UUID
    owner: str
    conversation_id: str
    goal: str = ""
    terms: str = ""
    result: str = ""
    problem: str = ""


def key_of(recorded: Recorded, event: Event) -> Key | None:
    if conversation_key(recorded.stream) is None:
        return None
    if isinstance(event, ConversationImported | MessageImported):
        return (imported_id(recorded.stream),)
    if isinstance(event, OperationFinished):
        return (UUID(event.operation_id),)
    return None if recorded.task_id is None else (recorded.task_id,)


def apply(row: ExperienceText | None, recorded: Recorded, event: Event) -> ExperienceText | None:
    match event:
        case RunRequested() if recorded.task_id is not None:
            return _about(ExperienceText(recorded.task_id, *owned_by(recorded)), event.input)
        case ConversationImported():
            return row or ExperienceText(imported_id(recorded.stream), *owned_by(recorded))
        case _ if row is None:
            return None
        case MessageImported():
            return _with_message(row, event)
        case MessageAnswered() | MessageInterrupted() | OperationFinished() | ChildAnswered():
            return msgspec.structs.replace(row, result=cut(event.content, RESULT_CHARS_MAX))
        case RunFailed():
            return msgspec.structs.replace(row, problem=cut(event.message, RESULT_CHARS_MAX))
        case _:
            return row


def _with_message(row: ExperienceText, event: MessageImported) -> ExperienceText:
    message = read_imported(event.message)
    if message.role == "user" and not row.goal:
        return _about(row, message.text)
    if message.role == "assistant" and message.text.strip():
        return msgspec.structs.replace(row, result=cut(message.text, RESULT_CHARS_MAX))
    return row


def _about(row: ExperienceText, goal: str) -> ExperienceText:
    goal = cut(goal, GOAL_CHARS_MAX)
    return msgspec.structs.replace(row, goal=goal, terms=" ".join(terms_of(goal)))


def cut(text: str, limit: int) -> str:
    """On one line, at most `limit` characters; `…` is the last where there was more."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def terms_of(text: str) -> list[str]:
    """The words by which a text is found, each once, at most 60."""
    found: dict[str, None] = {}
    for word in _WORDS.findall(text.lower()):
        for part in _split(word):
            found[part] = None
    return list(found)[:TERMS_MAX]


def _split(word: str) -> list[str]:
    """A word; where it is of a script without spaces, its pairs of characters."""
    parts: list[str] = []
    end = 0
    for run in _WITHOUT_SPACES.finditer(word):
        parts.append(word[end : run.start()])
        text, end = run[0], run.end()
        parts += [text[at : at + 2] for at in range(max(1, len(text) - 1))]
    parts.append(word[end:])
    return [part for part in parts if part]


PROJECTION = Projection(
    name="experience_texts",
    version=1,
    row=ExperienceText,
    ddl=DDL,
    key=("id",),
    handles=event_types(
        ConversationDeleted,
        ConversationImported,
        MessageImported,
        RunRequested,
        MessageAnswered,
        MessageInterrupted,
        OperationFinished,
        ChildAnswered,
        RunFailed,
    ),
    key_of=key_of,
    apply=apply,
    begins=event_types(RunRequested),
    forgets=event_types(ConversationDeleted),
    scope=("owner", "conversation_id"),
    scope_of=lambda recorded: conversation_key(recorded.stream),
)
