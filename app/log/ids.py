"""New ids, made at the edge and passed in. Those that are derived, the same at every replay: `app/core/ids.py`."""

import os
from uuid import UUID

from asyncpg.pgproto import pgproto

DRAWN_IDS = 256
_BYTES = 16

_drawn: list[UUID] = []
# A child of this process would otherwise hand out the same ids.
os.register_at_fork(after_in_child=_drawn.clear)


def new_id() -> UUID:
    """A random (version 4) UUID (RFC 9562, 5.4).

    The driver's own UUID, which it also reads ids as: its text, its hash and its making take a fraction of the
    standard library's. Draws for 256 at once: asking the kernel for each took longer than all the rest.
    """
    if not _drawn:
        drawn = bytearray(os.urandom(_BYTES * DRAWN_IDS))
        drawn[6::_BYTES] = bytes(byte & 0x0F | 0x40 for byte in drawn[6::_BYTES])  # the version
        drawn[8::_BYTES] = bytes(byte & 0x3F | 0x80 for byte in drawn[8::_BYTES])  # the variant
        whole = bytes(drawn)
        _drawn.extend(pgproto.UUID(whole[at : at + _BYTES]) for at in range(0, len(whole), _BYTES))
    return _drawn.pop()
