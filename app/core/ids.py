"""Ids. New ones are made at the edge and passed in; derived ones are the same at every replay."""

import os
from uuid import UUID, uuid5

NAMESPACE = UUID("6d696e75-7465-4b6f-8f6b-000000000001")
DRAWN_IDS = 256

_VERSION_4 = (0x4 << 76) | (0b10 << 62)
_RANDOM_BITS = (1 << 128) - 1 - (0xF << 76) - (0b11 << 62)
_drawn: list[UUID] = []
# A child of this process would otherwise hand out the same ids.
os.register_at_fork(after_in_child=_drawn.clear)


def new_id() -> UUID:
    """A random (version 4) UUID (RFC 9562, 5.4). Never call it in `core` or `agents`.

    Draws for 256 at once: asking the kernel for each took longer than all the rest of making one.
    """
    if not _drawn:
        drawn = os.urandom(16 * DRAWN_IDS)
        _drawn.extend(
            UUID(int=int.from_bytes(drawn[at : at + 16]) & _RANDOM_BITS | _VERSION_4)
            for at in range(0, len(drawn), 16)
        )
    return _drawn.pop()


def derived_id(parent: UUID, *parts: object) -> UUID:
    """The same UUID for the same parts, always (RFC 9562 version 5)."""
    return uuid5(parent, "/".join(str(part) for part in parts))


def named_id(*parts: object) -> UUID:
    """The same UUID for the same parts, where there is no parent (RFC 9562 version 5)."""
    return derived_id(NAMESPACE, *parts)
