"""What may be changed of users, keys, departments and quotas: pure decisions on the directory as it is.

Each returns the events to append (none: nothing changes) or raises a `Refusal`.
"""

import base64
import math
import unicodedata
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from app.auth.directory import Department, Directory, User, show_time
from app.auth.principal import (
    ALL_SCOPES,
    ID_CHARS_MAX,
    SCOPES_OF_ROLE,
    Role,
    Scope,
    digest_of,
    is_id,
    within_role,
)
from app.core.admin_events import (
    DepartmentRemoved,
    DepartmentSet,
    KeyIssued,
    KeyRevoked,
    QuotaPeriod,
    QuotaRemoved,
    QuotaSet,
    QuotaSubject,
    QuotaType,
    UserSet,
)
from app.core.events import AdminEvent
from app.core.texts import Locale, text

Decision: TypeAlias = tuple[AdminEvent, ...]
NAME_CHARS_MAX = 200
KEYS_PER_USER_MAX = 100
KEY_BYTES = 32
KEY_MARK = "mb_"
PREFIX_CHARS = len(KEY_MARK) + 6
EXPIRY_DAYS_MAX = 3_660
LIMIT_MAX = 1e15


class Refusal(Exception):
    """Why something was not changed. `key` names the text for people, `status` is that of HTTP."""

    def __init__(self, key: str, status: int, **values: object) -> None:
        super().__init__(text(key, "en", **values))
        self.key = key
        self.status = status
        self.values = values

    def sentence(self, locale: Locale) -> str:
        return text(self.key, locale, **self.values)


class UserChange(msgspec.Struct, frozen=True):
    """What is to be changed of a user; what is left out stays."""

    role: Role | UnsetType = UNSET
    department_id: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


class NewKey(msgspec.Struct, frozen=True):
    """A key to be issued. `scopes` empty: all that the user's role has. `secret` is the key, made by `key_of`."""

    key_id: str
    secret: str
    user_id: str
    name: str = ""
    scopes: tuple[Scope, ...] = ()
    service: bool = False
    expires_at: datetime | None = None


def key_of(random: bytes) -> str:
    """The key made of 32 random bytes."""
    if len(random) != KEY_BYTES:
        raise ValueError(f"a key is made of {KEY_BYTES} bytes, not of {len(random)}")
    return KEY_MARK + base64.urlsafe_b64encode(random).rstrip(b"=").decode()


def add_user(
    directory: Directory, user_id: str, role: Role = "member", department_id: str = "", name: str = ""
) -> Decision:
    _check_id("user_id", user_id)
    if directory.user(user_id) is not None:
        raise Refusal("user_exists", 409, id=user_id)
    _check_department(directory, department_id)
    return (UserSet(user_id, role, department_id, _checked_name(name)),)


def change_user(
    directory: Directory, user_id: str, change: UserChange, settings_admins: Collection[str]
) -> Decision:
    """`settings_admins`: who is an admin by the settings; as long as there is one, nobody can be locked out."""
    user = known_user(directory, user_id)
    role = user.role if change.role is UNSET else change.role
    department_id = user.department_id if change.department_id is UNSET else change.department_id
    name = user.name if change.name is UNSET else _checked_name(change.name)
    disabled = user.disabled if change.disabled is UNSET else change.disabled
    if department_id != user.department_id:
        _check_department(directory, department_id)
    if disabled and user_id in settings_admins:
        raise Refusal("settings_admin", 409, id=user_id)
    stays_admin = role == "admin" and not disabled
    if _is_admin(user) and not stays_admin and not settings_admins and len(_admins(directory)) == 1:
        raise Refusal("last_admin", 409, id=user_id)
    after = UserSet(user_id, role, department_id, name, disabled)
    return () if after == _as_event(user) else (after,)


def issue_key(directory: Directory, new: NewKey, now: datetime) -> Decision:
    user = known_user(directory, new.user_id)
    if user.disabled:
        raise Refusal("user_disabled", 409, id=user.user_id)
    scopes = with_lower(new.scopes) or SCOPES_OF_ROLE[user.role]
    beyond = [scope for scope in scopes if scope not in SCOPES_OF_ROLE[user.role]]
    if beyond:
        raise Refusal("scope_beyond_role", 400, scope=beyond[-1], role=user.role)
    good = [key for key in directory.keys_of(user.user_id) if key.is_good(now)]
    if len(good) >= KEYS_PER_USER_MAX:
        raise Refusal("too_many_keys", 409, id=user.user_id, limit=KEYS_PER_USER_MAX)
    return (
        KeyIssued(
            new.key_id,
            user.user_id,
            digest_of(new.secret),
            new.secret[:PREFIX_CHARS],
            _checked_name(new.name),
            scopes,
            new.service,
            "" if new.expires_at is None else show_time(_checked_expiry(new.expires_at, now)),
        ),
    )


def revoke_key(directory: Directory, key_id: str, reason: str = "", *, of: str | None = None) -> Decision:
    """`of`: only a key of this user's; somebody else's looks as if it did not exist."""
    key = directory.key(key_id)
    if key is None or (of is not None and key.user_id != of):
        raise Refusal("no_key", 404, id=key_id)
    return () if key.revoked_at is not None else (KeyRevoked(key_id, _checked_name(reason)),)


def add_department(directory: Directory, department_id: str, name: str = "") -> Decision:
    _check_id("department_id", department_id)
    if directory.department(department_id) is not None:
        raise Refusal("department_exists", 409, id=department_id)
    return (DepartmentSet(department_id, _checked_name(name)),)


def rename_department(directory: Directory, department_id: str, name: str) -> Decision:
    known, name = known_department(directory, department_id), _checked_name(name)
    return () if known.name == name else (DepartmentSet(department_id, name),)


def remove_department(directory: Directory, department_id: str) -> Decision:
    """Its quotas go with it, its members have no department then."""
    return (DepartmentRemoved(known_department(directory, department_id).department_id),)


def set_quota(directory: Directory, quota: QuotaSet) -> Decision:
    """A quota of 0 lets nothing through. A user may have one before the directory knows them: tokens bring users."""
    if quota.subject == "department":
        known_department(directory, quota.subject_id)
    else:
        _check_id("subject_id", quota.subject_id)
    whole = quota.quota_type == "cost" or quota.limit == int(quota.limit if math.isfinite(quota.limit) else 0)
    if not (math.isfinite(quota.limit) and 0 <= quota.limit <= LIMIT_MAX and whole):
        raise Refusal("quota_limit", 400, limit=f"{quota.limit:g}")
    known = directory.quota(quota.subject, quota.subject_id, quota.quota_type, quota.period)
    return () if known == quota else (quota,)


def remove_quota(
    directory: Directory, subject: QuotaSubject, subject_id: str, quota_type: QuotaType, period: QuotaPeriod
) -> Decision:
    if directory.quota(subject, subject_id, quota_type, period) is None:
        raise Refusal("no_quota", 404, subject=subject, id=subject_id, quota_type=quota_type, period=period)
    return (QuotaRemoved(subject, subject_id, quota_type, period),)


def first_key_is_admins(directory: Directory, new: NewKey) -> None:
    """The first key ends the development mode, so it has to be one that can administer. Raises `Refusal`."""
    user = directory.user(new.user_id)
    role: Role = "member" if user is None else user.role
    if "admin" not in within_role(new.scopes or ALL_SCOPES, role):
        raise Refusal("first_key", 409)


def with_lower(scopes: Collection[Scope]) -> tuple[Scope, ...]:
    """Each scope includes those before it: who may administer may change things, and who may do that may read."""
    highest = max((ALL_SCOPES.index(scope) for scope in scopes), default=-1)
    return ALL_SCOPES[: highest + 1]


def known_user(directory: Directory, user_id: str) -> User:
    """Raises `Refusal`."""
    user = directory.user(user_id)
    if user is None:
        raise Refusal("user_unknown", 404, id=user_id[:ID_CHARS_MAX])
    return user


def known_department(directory: Directory, department_id: str, *, status: int = 404) -> Department:
    """Raises `Refusal`."""
    department = directory.department(department_id)
    if department is None:
        raise Refusal("no_department", status, id=department_id[:ID_CHARS_MAX])
    return department


def _is_admin(user: User) -> bool:
    return user.role == "admin" and not user.disabled


def _admins(directory: Directory) -> list[User]:
    return [user for user in directory.users if _is_admin(user)]


def _as_event(user: User) -> UserSet:
    return UserSet(user.user_id, user.role, user.department_id, user.name, user.disabled)


def _check_id(field: str, value: str) -> None:
    if not is_id(value):
        raise Refusal("id_invalid", 400, field=field, value=value[:40], limit=ID_CHARS_MAX)


def _check_department(directory: Directory, department_id: str) -> None:
    """An empty one is none."""
    if department_id:
        known_department(directory, department_id, status=400)


def _checked_name(name: str) -> str:
    """Printable, at most 200 characters, without white space around."""
    name = name.strip()
    if len(name) > NAME_CHARS_MAX or any(unicodedata.category(one) in ("Cc", "Cs") for one in name):
        raise Refusal("name_invalid", 400, limit=NAME_CHARS_MAX)
    return name


def _checked_expiry(expires_at: datetime, now: datetime) -> datetime:
    if not now < expires_at <= now + timedelta(days=EXPIRY_DAYS_MAX):
        raise Refusal("expiry_invalid", 400, value=show_time(expires_at), days=EXPIRY_DAYS_MAX)
    return expires_at
