"""Who presents which credential: API keys and tokens become principals here, and nowhere else."""

import msgspec

from app.auth.principal import KeyRing, Principal


class Presented(msgspec.Struct, frozen=True):
    """What a request or a socket came with: an API key, a JSON Web Token, or neither."""

    api_key: str | None = None
    token: str | None = None


class Identities:
    """The configured keys."""

    def __init__(self, keys: KeyRing) -> None:
        self._keys = keys

    @property
    def development(self) -> bool:
        """No key is configured: everybody who reaches the server is its one user."""
        return self._keys.development

    async def identify(self, presented: Presented) -> Principal | None:
        """The principal, None for a wrong or missing credential."""
        return self._keys.identify(presented.api_key)
