"""Who may use the service: the directory of users and keys, and what checks credentials against it."""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import structlog

from app.auth.administration import Administration
from app.auth.following import FollowedDirectory
from app.auth.identities import Identities
from app.auth.key_uses import KeyUses
from app.auth.principal import KeyRing, Principal, digest_of
from app.log.log import Log
from app.settings import Settings

if TYPE_CHECKING:
    from app.auth.tokens import Tokens

logger = structlog.get_logger(__name__)


def keyring(settings: Settings) -> KeyRing:
    """The configured keys, hashed."""
    return KeyRing(
        (key.key_sha256 or digest_of(key.key), Principal(key.user, key.role)) for key in settings.api_keys
    )


def tokens(settings: Settings) -> "Tokens | None":
    """None where no tokens are configured."""
    if not settings.takes_tokens:
        return None
    # Their libraries are large, and most services take no tokens.
    from app.auth.signing_keys import SigningKeys, from_file, from_url
    from app.auth.tokens import TokenRules, Tokens

    fetch = None
    if settings.jwt_jwks_url:
        fetch = from_url(settings.jwt_jwks_url)
    elif settings.jwt_jwks_file:
        fetch = from_file(settings.jwt_jwks_file)
    rules = TokenRules(
        settings.jwt_secret,
        settings.jwt_issuer,
        settings.jwt_audience,
        settings.jwt_role_claim,
        settings.jwt_department_claim,
    )
    return Tokens(rules, None if fetch is None else SigningKeys(fetch))


async def open_identities(
    stack: AsyncExitStack, settings: Settings, log: Log
) -> tuple[Identities, Administration]:
    """Both look at one directory, which follows the log. Raises `LogUnavailable`."""
    followed = FollowedDirectory(log)
    await followed.open()
    stack.push_async_callback(followed.close)
    uses = KeyUses(log)
    stack.push_async_callback(uses.close)
    checked = tokens(settings)
    if checked is not None:
        stack.push_async_callback(checked.close)
    identities = Identities(keyring(settings), followed, uses, checked)
    if identities.development:
        logger.warning(
            "development_mode",
            reason="there is no API key, so whoever reaches this address is the user local",
        )
    return identities, Administration(followed, settings_admins=identities.settings_admins)
