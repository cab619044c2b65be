"""Who is calling: a principal, and what it may do."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

Role = Literal["admin", "member", "auditor"]
Scope = Literal["read", "write", "admin"]
"""What a key may be used for, within its user's role: to read, to change things, to administer."""
Origin = Literal["development", "settings", "key", "token"]
ALL_SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
SCOPES_OF_ROLE: dict[Role, tuple[Scope, ...]] = {
    "admin": ALL_SCOPES,
    "member": ("read", "write"),
    "auditor": ("read",),
}
"""What a role may do at most."""
DEVELOPMENT_USER = "local"
ID_PATTERN = r"^[A-Za-z0-9._@-]+$"
"""Of users and departments, 1-100 characters. They are part of the names of streams."""
ID_CHARS_MAX = 100
_ID = re.compile(ID_PATTERN.strip("^$"))


class Principal(msgspec.Struct, frozen=True):
    """A user, as every endpoint sees it. `user_id` is the owner of what they make.

    `department_id` is the department whose quotas bind a member, empty where there is none; `service` says that the key
    is a program's. `key_id` is the key that was used, empty for one of the settings and for a token. `origin` says by
    what they are known, until `expires_at` (None: until it is revoked).
    """

    user_id: str
    role: Role
    department_id: str = ""
    scopes: tuple[Scope, ...] = ALL_SCOPES
    service: bool = False
    key_id: str = ""
    origin: Origin = "settings"
    expires_at: datetime | None = None

    @property
    def may_write(self) -> bool:
        """Auditors read everything and change nothing."""
        return self.role != "auditor" and "write" in self.scopes

    @property
    def may_administer(self) -> bool:
        """Users, keys, departments, quotas."""
        return self.role == "admin" and "admin" in self.scopes

    @property
    def sees_all(self) -> bool:
        """Whether other people's things may be read: by admins and auditors."""
        return self.role in ("admin", "auditor")

    @property
    def charged_to(self) -> str:
        """The department against whose quotas this principal's use counts: members have one, admins and service keys
        have none (wire contract, section 9)."""
        return self.department_id if self.role == "member" and not self.service else ""

    @property
    def is_bound(self) -> bool:
        """Whether quotas bind this principal at all."""
        return self.role == "member" and not self.service


class KeyRing:
    """The keys of the settings, as SHA-256 digests. They are the operator's: nobody else takes them away."""

    def __init__(self, keys: Iterable[tuple[str, Principal]]) -> None:
        self._keys = [(bytes.fromhex(digest), principal) for digest, principal in keys]

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def admins(self) -> frozenset[str]:
        """The users who are admins by a key of the settings."""
        return frozenset(principal.user_id for _, principal in self._keys if principal.role == "admin")

    def identify(self, key: str) -> Principal | None:
        """The key's principal, None for a wrong key. Takes the same time for every key."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        found: Principal | None = None
        for known, principal in self._keys:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def digest_of(key: str) -> str:
    """How a key is stored: SHA-256, 64 hex digits. Keys are long and random, so no salt or stretching is needed."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def is_id(text: str) -> bool:
    """Whether this can be the id of a user or a department."""
    return len(text) <= ID_CHARS_MAX and _ID.fullmatch(text) is not None


def within_role(scopes: Iterable[Scope], role: Role) -> tuple[Scope, ...]:
    """What is left of the scopes in that role."""
    return tuple(scope for scope in SCOPES_OF_ROLE[role] if scope in tuple(scopes))
