"""Derived ids: the same at every replay. New ones are made at the edge (`app/log/ids.py`) and passed in."""

from uuid import UUID, uuid5

NAMESPACE = UUID("6d696e75-7465-4b6f-8f6b-000000000001")


def derived_id(parent: UUID, *parts: object) -> UUID:
    """The same UUID for the same parts, always (RFC 9562 version 5)."""
    return uuid5(parent, "/".join(str(part) for part in parts))


def named_id(*parts: object) -> UUID:
    """The same UUID for the same parts, where there is no parent (RFC 9562 version 5)."""
    return derived_id(NAMESPACE, *parts)
