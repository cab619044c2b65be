"""Who there is and what they may use: users, API keys, departments and quotas, as a fold of the stream `admin`.

    user.set ──► known (enabled or disabled)      key.issued ──► good ──► expired | revoked
    department.set ──► known ──department.removed──► gone, with its quotas; its members have no department

The fold is pure; `following.py` feeds it. All of it is held in memory: some hundred bytes a user or key.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import assert_never

import msgspec

from app.auth.principal import Role, Scope
from app.core.admin_events import (
    DepartmentRemoved,
    DepartmentSet,
    KeyIssued,
    KeyRevoked,
    KeyUsed,
    ProjectionChecked,
    QuotaPeriod,
    QuotaRemoved,
    QuotaSet,
    QuotaSubject,
    QuotaType,
    UserSet,
)
from app.core.envelope import Recorded
from app.core.events import AdminEvent


class User(msgspec.Struct, frozen=True):
    """Somebody whom an administrator has made known. `department_id` is empty where there is none."""

    user_id: str
    role: Role
    department_id: str
    name: str
    disabled: bool
    created_at: datetime
    updated_at: datetime


class ApiKey(msgspec.Struct, frozen=True):
    """A key that was issued. `sha256` is all that is known of the key itself, besides its first characters."""

    key_id: str
    user_id: str
    sha256: str
    prefix: str
    name: str
    scopes: tuple[Scope, ...]
    service: bool
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    revoked_by: str = ""
    reason: str = ""

    def is_good(self, now: datetime) -> bool:
        """Neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class Department(msgspec.Struct, frozen=True):
    department_id: str
    name: str
    created_at: datetime
    updated_at: datetime


class Directory:
    """The state after event `offset` of the stream."""

    def __init__(self) -> None:
        self.offset = 0
        self._users: dict[str, User] = {}
        self._keys: dict[str, ApiKey] = {}
        self._key_ids: dict[str, str] = {}
        self._departments: dict[str, Department] = {}
        self._quotas: dict[tuple[str, str], dict[tuple[str, str], QuotaSet]] = {}

    @property
    def has_issued(self) -> bool:
        """Whether any key was ever issued, also one that has been revoked."""
        return bool(self._keys)

    @property
    def users(self) -> list[User]:
        """In the order of their ids."""
        return [self._users[name] for name in sorted(self._users)]

    @property
    def keys(self) -> list[ApiKey]:
        """In the order in which they were issued."""
        return list(self._keys.values())

    @property
    def departments(self) -> list[Department]:
        """In the order of their ids."""
        return [self._departments[name] for name in sorted(self._departments)]

    def user(self, user_id: str) -> User | None:
        return self._users.get(user_id)

    def key(self, key_id: str) -> ApiKey | None:
        return self._keys.get(key_id)

    def key_of_digest(self, sha256: str) -> ApiKey | None:
        """The key with this SHA-256 (64 hex digits), also one that has been revoked or has expired."""
        key_id = self._key_ids.get(sha256)
        return None if key_id is None else self._keys[key_id]

    def keys_of(self, user_id: str) -> list[ApiKey]:
        """In the order in which they were issued, with those that are no longer good."""
        return [key for key in self._keys.values() if key.user_id == user_id]

    def department(self, department_id: str) -> Department | None:
        return self._departments.get(department_id)

    def members(self, department_id: str) -> list[User]:
        """In the order of their ids."""
        return [user for user in self.users if user.department_id == department_id]

    def quotas(self, subject: QuotaSubject, subject_id: str) -> tuple[QuotaSet, ...]:
        """At most one for each type and period, in the order of both."""
        found = self._quotas.get((subject, subject_id), {})
        return tuple(found[kind] for kind in sorted(found))

    @property
    def all_quotas(self) -> list[QuotaSet]:
        """By subject, then type and period."""
        return [
            quota
            for subject in sorted(self._quotas)
            for _, quota in sorted(self._quotas[subject].items(), key=lambda item: item[0])
        ]

    def quota(
        self, subject: QuotaSubject, subject_id: str, quota_type: QuotaType, period: QuotaPeriod
    ) -> QuotaSet | None:
        return self._quotas.get((subject, subject_id), {}).get((quota_type, period))

    def apply(self, recorded: Recorded) -> None:
        """The next event of the stream. One that was applied already, or of a newer release, changes nothing.

        Raises `ValueError` where events in between are missing, `msgspec.ValidationError` for a damaged one.
        """
        if recorded.offset <= self.offset:
            return
        if recorded.offset != self.offset + 1:
            raise ValueError(f"the directory is at offset {self.offset}, this event is at {recorded.offset}")
        event = recorded.event()
        if isinstance(event, AdminEvent):
            self._evolve(event, recorded)
        self.offset = recorded.offset

    def take(self, other: "Directory") -> None:
        """Become what the other one is."""
        self.__dict__.update(other.__dict__)

    def _evolve(self, event: AdminEvent, recorded: Recorded) -> None:
        match event:
            case UserSet():
                self._set_user(event, recorded.recorded_at)
            case KeyIssued():
                self._issue(event, recorded)
            case KeyRevoked():
                self._revoke(event, recorded)
            case DepartmentSet(department_id=department_id, name=name):
                known = self._departments.get(department_id)
                created_at = known.created_at if known else recorded.recorded_at
                self._departments[department_id] = Department(
                    department_id, name, created_at, recorded.recorded_at
                )
            case DepartmentRemoved(department_id=department_id):
                self._remove_department(department_id, recorded.recorded_at)
            case QuotaSet():
                kinds = self._quotas.setdefault((event.subject, event.subject_id), {})
                kinds[event.quota_type, event.period] = event
            case QuotaRemoved():
                self._remove_quota(event)
            case KeyUsed() | ProjectionChecked():
                pass  # the one is in the streams of users, the other says nothing of anybody
            case _ as never:
                assert_never(never)

    def _set_user(self, event: UserSet, at: datetime) -> None:
        known = self._users.get(event.user_id)
        self._users[event.user_id] = User(
            event.user_id,
            event.role,
            event.department_id,
            event.name,
            event.disabled,
            known.created_at if known else at,
            at,
        )

    def _issue(self, event: KeyIssued, recorded: Recorded) -> None:
        self._keys[event.key_id] = ApiKey(
            event.key_id,
            event.user_id,
            event.sha256,
            event.prefix,
            event.name,
            event.scopes,
            event.service,
            recorded.recorded_at,
            recorded.actor,
            parse_time(event.expires_at) if event.expires_at else None,
        )
        self._key_ids[event.sha256] = event.key_id

    def _revoke(self, event: KeyRevoked, recorded: Recorded) -> None:
        known = self._keys.get(event.key_id)
        if known is not None and known.revoked_at is None:
            self._keys[event.key_id] = msgspec.structs.replace(
                known, revoked_at=recorded.recorded_at, revoked_by=recorded.actor, reason=event.reason
            )

    def _remove_department(self, department_id: str, at: datetime) -> None:
        self._departments.pop(department_id, None)
        self._quotas.pop(("department", department_id), None)
        for user in self.members(department_id):
            self._users[user.user_id] = msgspec.structs.replace(user, department_id="", updated_at=at)

    def _remove_quota(self, event: QuotaRemoved) -> None:
        subject = event.subject, event.subject_id
        kinds = self._quotas.get(subject, {})
        kinds.pop((event.quota_type, event.period), None)
        if not kinds:
            self._quotas.pop(subject, None)


def folded(events: Iterable[Recorded]) -> Directory:
    """The directory that these events make, from the first one on."""
    directory = Directory()
    for recorded in events:
        directory.apply(recorded)
    return directory


def parse_time(shown: str) -> datetime:
    """RFC 3339 to UTC. Raises `ValueError` where it is not, or has no time zone."""
    at = datetime.fromisoformat(shown)
    if at.tzinfo is None:
        raise ValueError(f"{shown!r} has no time zone; write it like 2027-01-31T12:00:00Z")
    return at.astimezone(UTC)


def show_time(at: datetime) -> str:
    """RFC 3339 UTC, as events hold it."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
