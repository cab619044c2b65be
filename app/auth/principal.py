"""Who is calling: a principal, and what it may do."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Literal

import msgspec

Role = Literal["admin", "member", "auditor"]
Scope = Literal["read", "write", "admin"]
"""What a key may be used for, within its user's role: to read, to change things, to administer."""
ALL_SCOPES: tuple[Scope, ...] = ("read", "write", "admin")
DEVELOPMENT_USER = "local"


class Principal(msgspec.Struct, frozen=True):
    """A user, as every endpoint sees it. `user_id` is the owner of what they make.

    `department_id` is the department whose quotas bind a member, empty where there is none; `service` says that the key
    is a program's. `key_id` is the key that was used, empty for one of the settings and for a token.
    """

    user_id: str
    role: Role
    department_id: str = ""
    scopes: tuple[Scope, ...] = ALL_SCOPES
    service: bool = False
    key_id: str = ""

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
    """The configured keys, as SHA-256 digests. Without any, everybody is the development user."""

    def __init__(self, keys: Iterable[tuple[str, Principal]]) -> None:
        self._keys = [(bytes.fromhex(digest), principal) for digest, principal in keys]

    @property
    def development(self) -> bool:
        return not self._keys

    def identify(self, key: str | None) -> Principal | None:
        """The key's principal, None for a wrong or missing key. Takes the same time for every key."""
        if not self._keys:
            return Principal(DEVELOPMENT_USER, "admin")
        digest = hashlib.sha256((key or "").encode("utf-8", "surrogatepass")).digest()
        found: Principal | None = None
        for known, principal in self._keys:
            if hmac.compare_digest(known, digest):
                found = principal
        return found


def digest_of(key: str) -> str:
    """How a key is stored: SHA-256, 64 hex digits. Keys are long and random, so no salt or stretching is needed."""
    return hashlib.sha256(key.encode()).hexdigest()
