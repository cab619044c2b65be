"""The command that may lead a message: `@board[:expert,…] [rounds=N] topic`, `@team[:expert,…] task`.

Only what leads counts. What looks like a command further on is text of the topic.
"""

import re

import msgspec

_NAME = r"[^\s,，、]++"
_NAMES = rf"{_NAME}(?:[,，、]++[ \t\u3000]*+{_NAME})*+[,，、]*+|\S*+"
_COMMAND = re.compile(
    rf"@(?P<word>board|team)(?![\w-])(?:[:：](?P<names>{_NAMES}))?(?:\s+rounds[=＝](?P<rounds>\S*+))?",
    re.IGNORECASE,
)
_SEPARATORS = re.compile(r"[\s,，、]+")


class Command(msgspec.Struct, frozen=True):
    """As it was written: `word` is `board` or `team`, `rounds` what stands behind `rounds=` (None: it is not there),
    `topic` everything else, without white space around."""

    word: str
    names: tuple[str, ...]
    rounds: str | None
    topic: str


def leading_command(content: str) -> Command | None:
    """The command at the beginning of the message; None where there is none. Takes time linear in its length."""
    content = content.strip()
    found = _COMMAND.match(content)
    if found is None:
        return None
    names = tuple(filter(None, _SEPARATORS.split(found["names"] or "")))
    return Command(found["word"].lower(), names, found["rounds"], content[found.end() :].strip())
