"""JSON Web Tokens (RFC 7519): whom a signed token names.

Which key and algorithm check a token is ours to say: HS256 is checked with the secret and nothing else, RS256 and ES256
with the key of that type that the token names. Whatever else a token's header says is not looked at.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeGuard, cast

import jwt
import msgspec
from jwt.exceptions import InvalidTokenError, PyJWTError
from litestar.exceptions import NotAuthorizedException
from litestar.security.jwt import Token
from litestar.security.jwt.token import JWTDecodeOptions

from app.auth.principal import Role, is_id
from app.auth.signing_keys import ALGORITHMS, SigningKeys

TOKEN_CHARS_MAX = 8 * 1024
SKEW_SECONDS = 30.0
"""So far the clock of whoever signs may be ahead of ours."""
BY_POWER: tuple[Role, ...] = ("admin", "auditor", "member")


class TokenRules(msgspec.Struct, frozen=True):
    """What a token has to say. An empty issuer or audience is not looked at."""

    secret: str = ""
    issuer: str = ""
    audience: str = ""
    role_claim: str = "role"
    department_claim: str = "department"


class Claims(msgspec.Struct, frozen=True):
    """What a valid token says of its user."""

    user_id: str
    role: Role
    department_id: str
    expires_at: datetime


class Tokens:
    """`keys` None: only tokens signed with the secret are taken."""

    def __init__(self, rules: TokenRules, keys: SigningKeys | None = None) -> None:
        self._rules = rules
        self._keys = keys

    async def claims(self, token: str) -> Claims | None:
        """None for a token that is not valid: another signature, algorithm, issuer or audience; expired or without an
        expiry; of nobody who can be a user."""
        if len(token) > TOKEN_CHARS_MAX:
            return None
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError):
            return None
        key, algorithm = await self._key_for(header)
        if key is None:
            return None
        try:
            checked = _Checked.decode(
                token,
                key,
                algorithm,
                audience=self._rules.audience or None,
                issuer=self._rules.issuer or None,
                require_claims=["exp", "sub"],
            )
        except (NotAuthorizedException, PyJWTError, ValueError, TypeError, RecursionError):
            return None
        return self._claims_of(checked)

    async def close(self) -> None:
        if self._keys is not None:
            await self._keys.close()

    async def _key_for(self, header: dict[str, Any]) -> tuple[Any, str]:
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm == "HS256":
            return self._rules.secret or None, "HS256"
        if self._keys is None or not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
            return None, ""
        return await self._keys.find(kid, algorithm), algorithm

    def _claims_of(self, token: Token) -> Claims | None:
        role = role_of(token.extras.get(self._rules.role_claim))
        if role is None or not is_id(token.sub):
            return None
        department = token.extras.get(self._rules.department_claim)
        department_id = department if isinstance(department, str) and is_id(department) else ""
        return Claims(token.sub, role, department_id, token.exp)


class _Checked(Token):
    """Litestar's token, with two more rules: a claim named `extras` would pass for others, and clocks may differ."""

    @classmethod
    def decode_payload(
        cls,
        encoded_token: str,
        secret: str,
        algorithms: list[str],
        issuer: str | Sequence[str] | None = None,
        audience: str | Sequence[str] | None = None,
        options: JWTDecodeOptions | None = None,
    ) -> Any:
        payload: dict[str, Any] = jwt.decode(
            encoded_token,
            secret,
            algorithms=algorithms,
            issuer=issuer,
            audience=audience,
            options=options,  # pyright: ignore[reportArgumentType]
            leeway=SKEW_SECONDS,
        )
        if "extras" in payload:
            raise InvalidTokenError("a claim must not be named extras")
        now = datetime.now(UTC).timestamp()
        if is_number(exp := payload.get("exp")) and exp <= now:
            raise InvalidTokenError("the token has expired")
        if is_number(issued := payload.get("iat", now)):
            payload["iat"] = min(issued, now)
        return payload


def role_of(claim: Any) -> Role | None:
    """Without a claim a member. Of a list the highest role that is one; None for anything else."""
    if claim is None:
        return "member"
    listed = isinstance(claim, list)
    named = cast("list[Any]", claim) if listed else [claim]
    for role in BY_POWER:
        if any(role == one for one in named):
            return role
    return "member" if listed else None


def is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
