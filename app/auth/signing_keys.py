"""The public keys that sign tokens: a JSON Web Key Set (RFC 7517) from a URL or a file, kept and fetched again.

A key that is known is used at once. The set is fetched anew every 5 minutes, and where a token names a key that is not
known, then at most once in 10 s. Where that fails, the keys that are known stay good.
"""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from jwt import PyJWK, PyJWKClient, PyJWKSet
from jwt.exceptions import PyJWTError

FETCH_SECONDS_MAX = 5.0
KEPT_SECONDS = 300.0
PAUSE_SECONDS = 10.0
ALGORITHMS = frozenset({"RS256", "ES256"})
"""The algorithm follows from the key, never from the token."""

logger = structlog.get_logger(__name__)

Fetch = Callable[[], Any]
"""The decoded key set; runs in a thread of its own."""


class SigningKeys:
    """`clock` in seconds. Keys for encryption, of other algorithms, or symmetric ones do not count."""

    def __init__(self, fetch: Fetch, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: dict[str, PyJWK] = {}
        self._fetched_at = -KEPT_SECONDS
        self._tried_at = -PAUSE_SECONDS
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> PyJWK | None:
        """The key of that id for that algorithm. Without an id the only key there is; else None."""
        found = self._known(kid, algorithm)
        old = self._clock() - self._fetched_at >= KEPT_SECONDS
        if (found is None or old) and self._clock() - self._tried_at >= PAUSE_SECONDS:
            self._tried_at = self._clock()
            self._fetching = asyncio.create_task(self._renew(), name="signing-keys")
        if found is None and self._fetching is not None:
            await asyncio.shield(self._fetching)
            found = self._known(kid, algorithm)
        return found

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _known(self, kid: str | None, algorithm: str) -> PyJWK | None:
        if kid is not None:
            key = self._keys.get(kid)
            return key if key is not None and key.algorithm_name == algorithm else None
        fitting = [key for key in self._keys.values() if key.algorithm_name == algorithm]
        return fitting[0] if len(fitting) == 1 else None

    async def _renew(self) -> None:
        try:
            async with asyncio.timeout(2 * FETCH_SECONDS_MAX):
                fetched = await asyncio.to_thread(self._fetch)
            self._keys = usable(fetched)
            self._fetched_at = self._clock()
        except (PyJWTError, OSError, ValueError, TimeoutError) as error:
            logger.warning("signing_keys_not_fetched", error=f"{type(error).__name__}: {error}")


def usable(fetched: Any) -> dict[str, PyJWK]:
    """The keys that may sign, by id. Raises `PyJWTError` or `ValueError` where this is no key set."""
    if not isinstance(fetched, dict):
        raise ValueError("a key set is a JSON object")  # noqa: TRY004 (it is the content that is wrong)
    found: dict[str, PyJWK] = {}
    for number, key in enumerate(PyJWKSet.from_dict(fetched).keys):  # pyright: ignore[reportUnknownArgumentType]
        if key.public_key_use in ("sig", None) and key.algorithm_name in ALGORITHMS:
            found[key.key_id or f"({number})"] = key
    return found


def from_url(url: str) -> Fetch:
    """Redirects are not followed. Each step of the connection has 5 s."""
    return PyJWKClient(url, cache_jwk_set=False, timeout=FETCH_SECONDS_MAX).fetch_data


def from_file(path: str) -> Fetch:
    return lambda: json.loads(Path(path).read_bytes())
