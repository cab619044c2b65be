"""Fields of a skill or agent file, each checked. An error names file and field, its value, and what would be right."""

import re
import reprlib
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

from app.core.messages import storable
from app.skills.names import Tools, alike

VALUE_CHARS_MAX = 80
LIST_ITEMS_MAX = 100
_ITEM = re.compile(r"[^\s,(]+(?:\([^)]*\))?")

_shorter = reprlib.Repr()
_shorter.maxstring = _shorter.maxother = VALUE_CHARS_MAX
_shorter.maxlevel = 2


class BadFile(Exception):
    """A file is not what it should be. The text names the file and the field, and shows the value and an example."""

    def __init__(self, file: Path, wrong: str, *, example: str = "") -> None:
        super().__init__(f"{file}: {wrong}" + (f" For example: {example}" if example else ""))


def read_toml(file: Path, data: bytes, *, example: str) -> dict[str, object]:
    """The tables of a file; `example` is a line of a good one. Raises `BadFile`."""
    try:
        return tomllib.loads(data.decode("utf-8-sig").replace("\r\n", "\n"))
    except UnicodeDecodeError as error:
        raise BadFile(file, f"byte {error.start} is not UTF-8; save the file as UTF-8.") from None
    except (ValueError, RecursionError) as error:  # also dates that do not exist
        raise BadFile(file, f"is not valid TOML ({str(error)[:200]}).", example=example) from None


class Fields:
    """The fields of one file, or of one table in it. Everything here raises `BadFile`. `lines`: where fields stand."""

    def __init__(
        self,
        file: Path,
        values: Mapping[str, object],
        *,
        lines: Mapping[str, int] | None = None,
        within: str = "",
    ) -> None:
        self.file = file
        self._values = values
        self._lines = lines or {}
        self._within = within

    def __contains__(self, field: str) -> bool:
        return self._values.get(field) is not None

    def __getitem__(self, field: str) -> object:
        return self._values.get(field)

    def only(self, known: Collection[str], *, advice: str = "") -> None:
        """Refuses a field that nobody reads: it may be one that is misspelt."""
        for field in self._values:
            if field not in known:
                wrong = f"{self._named(field)} is not known{alike(field, known)}"
                raise BadFile(self.file, f"{wrong}; known are: {', '.join(known)}. {advice}".rstrip())

    def bad(self, field: str, expected: str, *, example: str) -> BadFile:
        """The error to raise: the field's value is not what is expected."""
        has = f"is {shown(self._values[field])}" if field in self._values else "is missing"
        return BadFile(self.file, f"{self._named(field)} {has}, expected {expected}.", example=example)

    def text(self, field: str, chars_max: int, *, example: str, default: str | None = None) -> str:
        """1 to `chars_max` characters, without white space around. Without `default` the field has to be there."""
        if field not in self and default is not None:
            return default
        value = self[field]
        if not isinstance(value, str):
            raise self.bad(field, f"text (in quotes) of 1-{chars_max} characters", example=example)
        stripped = value.strip()
        if not 1 <= len(stripped) <= chars_max:
            raise self.bad(
                field, f"text of 1-{chars_max} characters and not of {len(stripped)}", example=example
            )
        return storable(stripped)

    def choice(self, field: str, options: Collection[str], *, default: str, example: str) -> str:
        """One of the options."""
        if field not in self:
            return default
        value = self[field]
        if isinstance(value, str) and value in options:
            return value
        near = alike(value, options) if isinstance(value, str) else ""
        raise self.bad(field, f"one of {', '.join(options)}{near}", example=example)

    def names(self, field: str, *, example: str) -> tuple[str, ...] | None:
        """A list of names, or text that has them apart by commas or spaces; None where the field is not there."""
        if field not in self:
            return None
        value = self[field]
        given = cast("list[object]", value) if isinstance(value, list) else None
        if isinstance(value, str):
            given = cast("list[object]", _ITEM.findall(value))
        texts = [item.strip() for item in given or () if isinstance(item, str)]
        if given is None or len(texts) != len(given) or not all(texts) or len(texts) > LIST_ITEMS_MAX:
            raise self.bad(field, f"a list of at most {LIST_ITEMS_MAX} names", example=example)
        return tuple(dict.fromkeys(texts))

    def known_names(self, field: str, known: Collection[str], *, example: str) -> tuple[str, ...] | None:
        """Like `names`, each of them one that is known."""
        found = self.names(field, example=example)
        for name in found or ():
            if name not in known:
                raise self._unknown(field, name, known, example)
        return found

    def tools(self, field: str, tools: Tools, *, example: str) -> tuple[str, ...] | None:
        """Like `names`, each of them a tool that may be named."""
        found = self.names(field, example=example)
        for name in found or ():
            if not tools.may_be_named(name):
                raise self._unknown(field, name, tools.listed(), example)
        return found

    def _unknown(self, field: str, name: str, known: Collection[str], example: str) -> BadFile:
        wrong = f"{self._named(field)} names {shown(name)}, expected names out of {', '.join(known)}"
        return BadFile(self.file, f"{wrong}{alike(name, known)}.", example=example)

    def whole(self, field: str, low: int, high: int, *, default: int) -> int:
        """A whole number from `low` to `high`."""
        if field not in self:
            return default
        value = self[field]
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.bad(
                field, f"a whole number from {low} to {high}", example=f"{field} = {default or low}"
            )
        return value

    def number(self, field: str, low: float, high: float, *, default: float) -> float:
        """A number from `low` to `high`."""
        if field not in self:
            return default
        value = self[field]
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.bad(
                field, f"a number from {low:g} to {high:g}", example=f"{field} = {default or low:g}"
            )
        return float(value)

    def table(self, field: str, *, example: str) -> "Fields":
        """A table within this one; empty where the field is not there."""
        value = self._values.get(field, {})
        if not isinstance(value, dict):
            raise self.bad(field, "a table", example=example)
        return Fields(self.file, cast("dict[str, object]", value), within=f"{self._within}{field}.")

    def tables(self, field: str, items_max: int, *, example: str) -> tuple["Fields", ...]:
        """A list of tables; empty where the field is not there."""
        value = self._values.get(field, [])
        given = cast("list[object]", value) if isinstance(value, list) else None
        if given is None or len(given) > items_max or not all(isinstance(item, dict) for item in given):
            raise self.bad(field, f"a list of at most {items_max} tables", example=example)
        return tuple(
            Fields(self.file, cast("dict[str, object]", item), within=f"{self._within}{field}[{number}].")
            for number, item in enumerate(given, start=1)
        )

    def _named(self, field: str) -> str:
        line = f" (line {self._lines[field]})" if field in self._lines else ""
        return f"field {f'{self._within}{field}'[:VALUE_CHARS_MAX]!r}{line}"


def shown(value: object) -> str:
    """The value as it may stand in a message, cut where it is long."""
    return _shorter.repr(value)
