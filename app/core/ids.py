"""Ids. New ones are made at the edge and passed in; derived ones are the same at every replay."""

from uuid import UUID, uuid4, uuid5

NAMESPACE = UUID("6d696e75-7465-4b6f-8f6b-000000000001")


def new_id() -> UUID:
    """A random (version 4) UUID. Never call it in `core` or `agents`."""
    return uuid4()


def derived_id(parent: UUID, *parts: object) -> UUID:
    """The same UUID for the same parts, always (RFC 9562 version 5)."""
    return uuid5(parent, "/".join(str(part) for part in parts))


def named_id(*parts: object) -> UUID:
    """The same UUID for the same parts, where there is no parent (RFC 9562 version 5)."""
    return derived_id(NAMESPACE, *parts)
