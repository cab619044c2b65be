"""Names of streams. One conversation is one stream; a user has one for pushes and files; one is for administration.

The owner is part of the name, so two users with the same conversation id never meet.
"""

from typing import NamedTuple

from app.core.texts import Locale, text

ADMIN = "admin"
CONVERSATION_ID_CHARS_MAX = 200
SHOWN_CHARS_MAX = 40


class InvalidConversationId(ValueError):
    """A conversation id has to be 1-200 printable characters without `/`. `name` is that under which it was given; the
    message is in English, `sentence` in any language."""

    def __init__(self, given: str, name: str) -> None:
        self._given = given
        self._name = name
        super().__init__(self.sentence("en"))

    def sentence(self, locale: Locale) -> str:
        """What was given, and what it has to be."""
        size = len(self._given)
        shown = self._given[:SHOWN_CHARS_MAX] + ("…" if size > SHOWN_CHARS_MAX else "")
        limit = CONVERSATION_ID_CHARS_MAX
        return text("conversation_id_invalid", locale, name=self._name, limit=limit, size=size, given=shown)


class ConversationKey(NamedTuple):
    owner: str
    conversation_id: str


def conversation(owner: str, conversation_id: str, *, name: str = "conversation_id") -> str:
    """Raises `InvalidConversationId`, which calls it by `name`."""
    if (
        not 1 <= len(conversation_id) <= CONVERSATION_ID_CHARS_MAX
        or "/" in conversation_id
        or not conversation_id.isprintable()
    ):
        raise InvalidConversationId(conversation_id, name)
    return f"conversation/{owner}/{conversation_id}"


def user(owner: str) -> str:
    return f"user/{owner}"


def conversation_key(stream: str) -> ConversationKey | None:
    """Owner and conversation id of a conversation's stream; None for the other kinds."""
    kind, _, rest = stream.partition("/")
    owner, slash, conversation_id = rest.partition("/")
    return ConversationKey(owner, conversation_id) if kind == "conversation" and slash else None
