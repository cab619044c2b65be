"""Names of streams. One conversation is one stream; a user has one for pushes and files; one is for administration.

The owner is part of the name, so two users with the same conversation id never meet.
"""

from typing import NamedTuple

ADMIN = "admin"
CONVERSATION_ID_CHARS_MAX = 200


class InvalidConversationId(ValueError):
    """A conversation id has to be 1-200 printable characters without `/`."""


class ConversationKey(NamedTuple):
    owner: str
    conversation_id: str


def conversation(owner: str, conversation_id: str) -> str:
    """Raises `InvalidConversationId`."""
    length = len(conversation_id)
    if (
        not 1 <= length <= CONVERSATION_ID_CHARS_MAX
        or "/" in conversation_id
        or not conversation_id.isprintable()
    ):
        shown = conversation_id[:40] + ("…" if length > 40 else "")
        raise InvalidConversationId(
            f"conversation_id has to be 1-{CONVERSATION_ID_CHARS_MAX} printable characters without '/', "
            f"this one has {length}: {shown!r}"
        )
    return f"conversation/{owner}/{conversation_id}"


def user(owner: str) -> str:
    return f"user/{owner}"


def conversation_key(stream: str) -> ConversationKey | None:
    """Owner and conversation id of a conversation's stream; None for the other kinds."""
    kind, _, rest = stream.partition("/")
    owner, slash, conversation_id = rest.partition("/")
    return ConversationKey(owner, conversation_id) if kind == "conversation" and slash else None
