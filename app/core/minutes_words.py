"""What every part of the Markdown of minutes is written with."""

import re
from collections.abc import Callable, Iterator

from app.core.texts import Locale, text

Words = Callable[..., str]
"""The text of a key in the language of the document."""


def words_of(locale: Locale) -> Words:
    """The words of this language."""

    def words(key: str, **values: object) -> str:
        return text(key, locale, **values)

    return words


def proof(offset: int | None, before: str = "") -> str:
    """`[#12]`; empty without an offset, else behind `before`."""
    return "" if offset is None else f"{before}[#{offset}]"


def inline(said: str) -> str:
    """On one line, whatever it was."""
    return _own(" ".join(_printable(said).split()))


def quoted(said: str) -> Iterator[str]:
    """As a quotation, line by line."""
    for line in _own(_printable(said).strip()).splitlines() or [""]:
        yield f"> {line}".rstrip()


def code(said: str) -> str:
    """As code on one line, also where it has backquotes in it."""
    shown = " ".join(_printable(said).split())
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    space = " " if "`" in shown else ""
    return f"{fence}{space}{shown}{space}{fence}"


def _own(said: str) -> str:
    return said.replace("[#", "\\[#")


def _printable(said: str) -> str:
    """Without what could steer a terminal; line breaks and tabs stay."""
    return "".join(c if c.isprintable() or c in "\n\t" else " " for c in said.replace("\r\n", "\n"))
