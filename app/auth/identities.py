"""Who presents which credential: API keys and tokens become principals here, and nowhere else."""

import asyncio
import hmac
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import structlog

from app.auth.directory import ApiKey
from app.auth.following import FollowedDirectory
from app.auth.key_uses import KeyUses
from app.auth.principal import DEVELOPMENT_USER, KeyRing, Principal, digest_of, within_role

if TYPE_CHECKING:
    from app.auth.tokens import Tokens  # what it needs is imported only where tokens are taken

logger = structlog.get_logger(__name__)


class Presented(msgspec.Struct, frozen=True):
    """What a request or a socket came with: an API key, a JSON Web Token, or neither."""

    api_key: str | None = None
    token: str | None = None


class Identities:
    """The keys of the settings, the keys of the log, and tokens. Where both a key and a token come, the key counts.

    A user that the directory knows is what it says of them, whatever a token claims. Keys of the settings keep their
    role, and those of admins work also where the directory has disabled them: they are the operator's way back in.
    """

    def __init__(
        self, keys: KeyRing, followed: FollowedDirectory, uses: KeyUses, tokens: "Tokens | None" = None
    ) -> None:
        self._keys = keys
        self._followed = followed
        self._uses = uses
        self._tokens = tokens
        self._never_again = bool(keys) or tokens is not None

    @property
    def development(self) -> bool:
        """Neither keys nor tokens are configured and no key was ever issued: everybody who reaches the server is its
        one user. Once that is over, it is over for the life of the process, whatever happens to the log."""
        if not self._never_again and self._followed.directory.has_issued:
            self._never_again = True
            logger.warning(
                "development_mode_ended", reason="a key was issued; from now on every call needs one"
            )
        return not self._never_again

    @property
    def settings_admins(self) -> frozenset[str]:
        """The users who are admins by a key of the settings."""
        return self._keys.admins

    async def identify(self, presented: Presented) -> Principal | None:
        """The principal as of now, None for a wrong or missing credential. Raises `LogUnavailable`: whether a key was
        revoked is in the log."""
        await self._followed.caught_up()
        if self.development:
            return Principal(DEVELOPMENT_USER, "admin", origin="development")
        if presented.api_key is not None:
            return self._of_key(presented.api_key)
        return None if presented.token is None else await self._of_token(presented.token)

    def still(self, principal: Principal) -> Principal | None:
        """What a principal is by now, as far as this process knows; None if it would be refused."""
        match principal.origin:
            case "development":
                return principal if self.development else None
            case "settings":
                return self._known(principal)
            case "key":
                key = self._followed.directory.key(principal.key_id)
                return None if key is None else self._owner_of(key)
            case "token":
                expired = principal.expires_at is not None and datetime.now(UTC) >= principal.expires_at
                return None if expired else self._known(principal)

    async def watch(self, principal: Principal) -> Principal | None:
        """Returns when the principal is no longer what it was: what it is by then, or None if it would be refused,
        because its key was revoked or has expired, or its user was disabled. Has no limit of its own: cancel it."""
        while True:
            offset = self._followed.directory.offset
            found = self.still(principal)
            if found != principal:
                return found
            left = principal.expires_at and (principal.expires_at - datetime.now(UTC)).total_seconds()
            with suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._followed.changed(offset)

    def _of_key(self, presented: str) -> Principal | None:
        configured = self._keys.identify(presented)
        if configured is not None:
            return self._known(configured)
        digest = digest_of(presented)
        key = self._followed.directory.key_of_digest(digest)
        if key is None or not hmac.compare_digest(key.sha256, digest):
            return None
        principal = self._owner_of(key)
        if principal is not None:
            self._uses.note(key)
        return principal

    def _owner_of(self, key: ApiKey) -> Principal | None:
        user = self._followed.directory.user(key.user_id)
        if user is None or user.disabled or not key.is_good(datetime.now(UTC)):
            return None
        return Principal(
            user.user_id,
            user.role,
            user.department_id,
            within_role(key.scopes, user.role),
            key.service,
            key.key_id,
            "key",
            key.expires_at,
        )

    async def _of_token(self, token: str) -> Principal | None:
        claims = None if self._tokens is None else await self._tokens.claims(token)
        if claims is None:
            return None
        return self._known(
            Principal(
                claims.user_id,
                claims.role,
                claims.department_id,
                origin="token",
                expires_at=claims.expires_at,
            )
        )

    def _known(self, principal: Principal) -> Principal | None:
        """The principal of a token or of the settings, as the directory has its user."""
        user = self._followed.directory.user(principal.user_id)
        if user is None:
            return principal
        if principal.origin == "settings":
            if user.disabled and principal.role != "admin":
                return None
            return msgspec.structs.replace(principal, department_id=user.department_id)
        if user.disabled:
            return None
        return msgspec.structs.replace(principal, role=user.role, department_id=user.department_id)
