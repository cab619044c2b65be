"""Events of administration (stream `admin`): users, keys, departments, quotas; their author is the envelope's actor.

The rules of `app/core/events.py` hold. What says what something is now carries all of it, not only what has changed.
"""

from typing import Literal

import msgspec

QuotaType = Literal["requests", "tokens", "cost"]
"""What is counted: messages taken, tokens of model calls, and their cost in US dollars."""
QuotaPeriod = Literal["hour", "day", "month"]
"""Of the calendar, in UTC."""
QuotaSubject = Literal["department", "user"]


class QuotaInfo(msgspec.Struct, frozen=True):
    """A quota that is used up, as clients see it (wire contract, section 2). `department_id` is empty for a quota of
    the user's own."""

    department_id: str
    quota_type: QuotaType
    period: QuotaPeriod
    limit: float
    current: float


class UserSet(msgspec.Struct, frozen=True, tag_field="type", tag="user.set", omit_defaults=True):
    """A user exists and is this from now on. `disabled`: none of their keys and tokens is taken."""

    user_id: str
    role: Literal["admin", "member", "auditor"] = "member"
    department_id: str = ""
    name: str = ""
    disabled: bool = False


class KeyIssued(msgspec.Struct, frozen=True, tag_field="type", tag="key.issued", omit_defaults=True):
    """An API key of a user. The key itself is nowhere: `sha256` is its digest, `prefix` its first characters.

    `expires_at` is RFC 3339 UTC; empty: never.
    """

    key_id: str
    user_id: str
    sha256: str
    prefix: str
    name: str = ""
    scopes: tuple[Literal["read", "write", "admin"], ...] = ("read", "write", "admin")
    service: bool = False
    expires_at: str = ""


class KeyRevoked(msgspec.Struct, frozen=True, tag_field="type", tag="key.revoked", omit_defaults=True):
    key_id: str
    reason: str = ""


class KeyUsed(msgspec.Struct, frozen=True, tag_field="type", tag="key.used", omit_defaults=True):
    """The key was used about now (stream of its user); told at most once in a while."""

    key_id: str


class DepartmentSet(msgspec.Struct, frozen=True, tag_field="type", tag="department.set", omit_defaults=True):
    """A department exists and is called this from now on."""

    department_id: str
    name: str = ""


class DepartmentRemoved(
    msgspec.Struct, frozen=True, tag_field="type", tag="department.removed", omit_defaults=True
):
    """Its quotas go with it; its members have no department."""

    department_id: str


class QuotaSet(msgspec.Struct, frozen=True, tag_field="type", tag="quota.set", omit_defaults=True):
    """From now on this many within each period. `subject_id` is a department's or a user's id. `limit` 0: nothing."""

    subject: QuotaSubject
    subject_id: str
    quota_type: QuotaType
    period: QuotaPeriod
    limit: float


class QuotaRemoved(msgspec.Struct, frozen=True, tag_field="type", tag="quota.removed", omit_defaults=True):
    subject: QuotaSubject
    subject_id: str
    quota_type: QuotaType
    period: QuotaPeriod


class ProjectionChecked(
    msgspec.Struct, frozen=True, tag_field="type", tag="projection.checked", omit_defaults=True
):
    """A view was folded anew and compared: of `rows` at this position so many were not what the log says.

    `shown` names the first of them; `problem` says why the two could not be compared.
    """

    name: str
    version: int
    position: int
    rows: int
    differences: int
    shown: tuple[str, ...] = ()
    problem: str = ""
