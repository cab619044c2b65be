"""Names of uploaded files: what people called them, and what they are stored as."""

import re
from pathlib import PurePosixPath

FILENAME_CHARS_MAX = 200
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}")
_STORED_NAME = re.compile(r"[0-9a-f]{32}(\.[A-Za-z0-9]{1,10})?")
_FALLBACK = "file"


def shown_name(given: str) -> str:
    """The last part of what a client called its file: printable, without a path, 1-200 characters."""
    name = PurePosixPath(given.replace("\\", "/").replace("\0", "")).name
    name = "".join(filter(str.isprintable, name)).strip()
    if len(name) > FILENAME_CHARS_MAX:
        suffix = extension_of(name)
        name = name[: FILENAME_CHARS_MAX - len(suffix)] + suffix
    return name if name.strip(". ") else _FALLBACK


def extension_of(name: str) -> str:
    """The extension, where it is harmless: `.` and 1-10 letters or digits; else nothing."""
    suffix = PurePosixPath(name).suffix
    return suffix if _EXTENSION.fullmatch(suffix) else ""


def stored_name(token: str, name: str) -> str:
    """`token` are 32 random hex digits."""
    return token + extension_of(name)


def is_stored_name(name: str) -> bool:
    """Whether a file can be stored under it: never a path."""
    return _STORED_NAME.fullmatch(name) is not None
