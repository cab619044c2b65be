"""One SQL statement a file, loaded by name."""

from functools import cache
from importlib.resources import files


@cache
def statement(name: str) -> str:
    """The text of `app/log/sql/NAME.sql`. Raises `FileNotFoundError` for an unknown name."""
    return (files(__name__) / f"{name}.sql").read_text(encoding="utf-8")
