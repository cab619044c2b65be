"""The title of a conversation: a pure rule over its first user message, so that it is the same after every restart."""

import msgspec

from app.core.commands import leading_command
from app.core.messages import storable
from app.core.texts import Locale, text

TITLE_CHARS_MAX = 20
GIVEN_CHARS_MAX = 200


class Title(msgspec.Struct, frozen=True):
    """`text` is empty where a command leaves nothing; it is then shown as the locale's word for a conversation."""

    text: str
    is_board: bool


def title_of(content: str) -> Title:
    """Without a leading `@board…` or `@team…` command; cut at 20 characters with `...` behind if it was longer."""
    command = leading_command(content)
    topic = content.strip()
    if command is not None:
        topic = command.topic
        if (
            command.rounds is not None and not command.rounds.isdecimal()
        ):  # no number of rounds, so it is text
            topic = f"rounds={command.rounds} {topic}".strip()
    cut = topic[:TITLE_CHARS_MAX] + "..." if len(topic) > TITLE_CHARS_MAX else topic
    return Title(cut, command is not None and command.word == "board")


def given_title(text: str) -> str:
    """A title as somebody gives it, on one line; blank: the one that the first message gives."""
    return " ".join(storable(text).split())


def shown_title(title: str, locale: Locale) -> str:
    """The title, or the locale's word where it is empty."""
    return title or text("conversation", locale)
