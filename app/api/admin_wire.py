"""Users, keys, departments and quotas as clients see and send them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.auth.decisions import LIMIT_MAX, NAME_CHARS_MAX
from app.auth.directory import ApiKey, Department, User
from app.auth.principal import ID_CHARS_MAX, ID_PATTERN, Role, Scope
from app.core.admin_events import QuotaPeriod, QuotaSet, QuotaSubject, QuotaType
from projections import page_cursors
from projections.page_cursors import InvalidPageCursor

LIST_DEFAULT = 100
LIST_MAX = 500
CURSOR_CHARS_MAX = 1_000
NO_STORE = {"Cache-Control": "no-store"}

Id = Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX, pattern=ID_PATTERN)]
Name = Annotated[str, Meta(max_length=NAME_CHARS_MAX)]
Scopes = Annotated[tuple[Scope, ...], Meta(max_length=3)]
Expiry = Annotated[datetime, Meta(tz=True)]
Limit = Annotated[float, Meta(ge=0, le=LIMIT_MAX)]
DepartmentId = Annotated[
    str, Meta(max_length=ID_CHARS_MAX, pattern=ID_PATTERN.replace("+$", "*$"), description="Empty: none")
]
Item = TypeVar("Item")


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    user_id: Id
    role: Role = "member"
    department_id: DepartmentId = ""
    name: Name = ""


class UserPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays. `disabled`: none of their keys and tokens is taken."""

    role: Role | UnsetType = UNSET
    department_id: DepartmentId | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class OwnKeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scopes`: each includes those before it (read, write, admin); empty: all that the caller has."""

    name: Name = ""
    scopes: Scopes = ()
    expires_at: Expiry | None = None


class KeyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`scopes`: each includes those before it (read, write, admin); empty: all that the user's role has. `service`:
    a program's key, which quotas do not bind."""

    user_id: Id
    name: Name = ""
    scopes: Scopes = ()
    service: bool = False
    expires_at: Expiry | None = None


class NewDepartment(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    department_id: Id
    name: Name = ""


class DepartmentPatch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Name


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From now on this many within each period of the calendar, in UTC. `cost` is in US dollars. 0: nothing."""

    subject: QuotaSubject
    subject_id: Id
    quota_type: QuotaType
    period: QuotaPeriod
    limit: Limit


class ShownKey(msgspec.Struct, frozen=True):
    """A key without the key: `prefix` are its first characters. `last_used_at` is good to 10 minutes."""

    key_id: str
    user_id: str
    prefix: str
    name: str
    scopes: tuple[Scope, ...]
    service: bool
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str
    reason: str
    last_used_at: datetime | None = None


class IssuedKey(msgspec.Struct, frozen=True):
    """`key` is shown this once and kept nowhere."""

    key: str
    details: ShownKey


class Users(msgspec.Struct, frozen=True):
    """In the order of their ids. `next_cursor` None: this was the last page."""

    users: Sequence[User]
    total: int
    next_cursor: str | None


class Keys(msgspec.Struct, frozen=True):
    """Newest first. `next_cursor` None: this was the last page."""

    keys: Sequence[ShownKey]
    total: int
    next_cursor: str | None


class Departments(msgspec.Struct, frozen=True):
    """In the order of their ids. `next_cursor` None: this was the last page."""

    departments: Sequence[Department]
    total: int
    next_cursor: str | None


class Quotas(msgspec.Struct, frozen=True):
    """By subject, type and period."""

    quotas: Sequence[Quota]
    total: int
    next_cursor: str | None


class Removed(msgspec.Struct, frozen=True):
    removed: bool
    id: str


def shown_key(key: ApiKey, used: Mapping[str, datetime]) -> ShownKey:
    return ShownKey(
        key.key_id,
        key.user_id,
        key.prefix,
        key.name,
        key.scopes,
        key.service,
        key.created_at,
        key.created_by,
        key.expires_at,
        key.revoked_at,
        key.revoked_by,
        key.reason,
        used.get(key.key_id),
    )


def page_of(
    items: Iterable[Item], name_of: Callable[[Item], str], *, limit: int, cursor: str | None
) -> tuple[list[Item], int, str | None]:
    """The page behind the item that `cursor` names, how many items there are, and the next cursor.

    Raises `InvalidPageCursor` where no item has that name.
    """
    found = list(items)
    start = 0
    if cursor:
        names = [name_of(item) for item in found]
        known = page_cursors.names_of(cursor, chars_max=CURSOR_CHARS_MAX)
        start = next((names.index(name) + 1 for name in known if name in names), 0)
        if start == 0:
            raise InvalidPageCursor(cursor)
    page = found[start : start + limit]
    more = start + limit < len(found)
    return page, len(found), page_cursors.packed(name_of(page[-1])) if more else None


def shown_quota(quota: QuotaSet) -> Quota:
    return Quota(quota.subject, quota.subject_id, quota.quota_type, quota.period, quota.limit)


def quota_name(quota: Quota) -> str:
    """That by which its page ends."""
    return f"{quota.subject}/{quota.subject_id}/{quota.quota_type}/{quota.period}"
