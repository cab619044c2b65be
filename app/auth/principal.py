"""Who is calling: a principal from an API key."""

import hashlib
import hmac
from collections.abc import Iterable
from typing import Literal

import msgspec

Role = Literal["admin", "member", "auditor"]
DEVELOPMENT_USER = "local"


class Principal(msgspec.Struct, frozen=True):
    """A user, as every endpoint sees it. `user_id` is the owner of what they make."""

    user_id: str
    role: Role

    @property
    def may_write(self) -> bool:
        """Auditors read everything and change nothing."""
        return self.role != "auditor"


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
