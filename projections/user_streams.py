"""Whose a user's stream is, remembered: folds ask for it at every event."""

from functools import lru_cache

_PREFIX = "user/"


@lru_cache(maxsize=4_096)
def user_of(stream: str) -> str | None:
    """The user of a user's stream; None for the other kinds."""
    return stream.removeprefix(_PREFIX) if stream.startswith(_PREFIX) else None
