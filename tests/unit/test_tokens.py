"""Contract section 9: JSON Web Tokens. Whom a token names, and the ways in which it may not."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from app.auth import signing_keys
from app.auth.signing_keys import KEPT_SECONDS, PAUSE_SECONDS, SigningKeys, from_file, usable
from app.auth.tokens import Claims, TokenRules, Tokens

SECRET = "a secret of at least thirty-two bytes"
RULES = TokenRules(SECRET, "https://login.example.com/", "minutebook", "role", "department")
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
DAY = 86_400  # seconds; the parameters are made when the tests are collected, long before they are used
EC_KEY = ec.generate_private_key(ec.SECP256R1())
Minted = dict[str, Any]


def payload(**changes: Any) -> Minted:
    """What a good token says; None leaves a claim out."""
    now = int(time.time())
    said = {
        "sub": "ana",
        "iat": now,
        "exp": now + 600,
        "iss": RULES.issuer,
        "aud": RULES.audience,
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", kid: str | None = None, **changes: Any) -> str:
    headers = None if kid is None else {"kid": kid}
    return jwt.encode(payload(**changes), key, algorithm=algorithm, headers=headers)


def public(key: Any, kid: str | None, **more: Any) -> dict[str, Any]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return {
        **json.loads(algorithm.to_jwk(key.public_key())),
        **({} if kid is None else {"kid": kid}),
        **more,
    }


class Provider:
    """Publishes keys, counts who asks, and may be away. `clock` goes by hand."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.asked = 0
        self.away = False
        self.now = 1_000.0
        self.signing_keys = SigningKeys(self.fetch, lambda: self.now)
        self.tokens = Tokens(RULES, self.signing_keys)

    def fetch(self) -> Any:
        self.asked += 1
        if self.away:
            raise OSError("no route to host")
        return {"keys": self.keys}


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(RULES)


async def test_a_good_token_names_its_user(tokens: Tokens) -> None:
    claims = await tokens.claims(signed(role="auditor", department="law"))
    assert isinstance(claims, Claims)
    assert (claims.user_id, claims.role, claims.department_id) == ("ana", "auditor", "law")
    assert 0 < claims.expires_at.timestamp() - time.time() <= 600


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": None},
        {"exp": int(time.time()) - 1},
        {"exp": "tomorrow"},
        {"exp": 1e30},
        {"iat": int(time.time()) + DAY},
        {"nbf": int(time.time()) + DAY},
        {"iss": None},
        {"iss": "https://evil.example.com/"},
        {"aud": None},
        {"aud": "another service"},
        {"aud": ["another service"]},
        {"sub": None},
        {"sub": ""},
        {"sub": "a/b"},
        {"sub": "ana\n"},
        {"sub": "x" * 101},
        {"role": "superuser"},
        {"role": 7},
        {"role": {"admin": True}},
        {"extras": {"role": "admin"}},
        {"extras": "x"},
    ],
)
async def test_a_token_that_says_too_little_or_something_else_is_refused(
    tokens: Tokens, changes: Minted
) -> None:
    raw = jwt.api_jws.encode(json.dumps(payload(**changes)).encode(), SECRET, algorithm="HS256")
    assert await tokens.claims(raw) is None


async def test_a_clock_that_is_a_little_ahead_is_no_reason_to_refuse(tokens: Tokens) -> None:
    ahead = int(time.time()) + 10
    assert await tokens.claims(signed(iat=ahead, nbf=ahead)) is not None
    assert await tokens.claims(signed(iat=None)) is not None, "it need not say when it was made"


@pytest.mark.parametrize(
    ("role", "found"),
    [
        (None, "member"),
        ("admin", "admin"),
        (["users", "auditor"], "auditor"),
        (["auditor", "admin"], "admin"),
        (["users"], "member"),
        ([], "member"),
    ],
)
async def test_the_role_claim_is_a_role_or_a_list_with_one(tokens: Tokens, role: Any, found: str) -> None:
    claims = await tokens.claims(signed(role=role))
    assert claims is not None
    assert claims.role == found


async def test_a_department_that_cannot_be_one_is_none(tokens: Tokens) -> None:
    for department in ("a/b", 7, ["law"], None):
        claims = await tokens.claims(signed(department=department))
        assert claims is not None
        assert claims.department_id == ""


async def test_a_token_signed_with_something_else_is_refused(tokens: Tokens) -> None:
    good = signed()
    head, body, signature = good.split(".")
    forged = base64.urlsafe_b64encode(json.dumps(payload(role="admin")).encode()).rstrip(b"=").decode()
    for token in (
        signed("another secret of thirty-two bytes!!"),
        f"{head}.{forged}.{signature}",
        f"{head}.{body}.",
        f"{head}.{body}",
        signed(algorithm="HS512", key=SECRET * 2),
        "",
        "...",
        "x" * 10_000,
        "a.b.c",
        "\udcff.é.中",
    ):
        assert await tokens.claims(token) is None, token
    assert await tokens.claims(good) is not None


def unsigned(algorithm: Any, **header: Any) -> str:
    parts = ({"alg": algorithm, "typ": "JWT", **header}, payload(role="admin"))
    encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, ""])


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 7, ["HS256"], {"a": 1}])
async def test_an_unsigned_token_is_refused(algorithm: Any) -> None:
    provider = Provider(public(RSA_KEY, "one"))
    assert await provider.tokens.claims(unsigned(algorithm, kid="one")) is None


@pytest.mark.parametrize(("key", "algorithm"), [(RSA_KEY, "RS256"), (EC_KEY, "ES256")])
async def test_a_token_signed_with_a_published_key_is_taken(key: Any, algorithm: str) -> None:
    provider = Provider(public(RSA_KEY, "rsa"), public(EC_KEY, "ec"))
    kid = "rsa" if key is RSA_KEY else "ec"
    assert await provider.tokens.claims(signed(key, algorithm, kid)) is not None
    assert await provider.tokens.claims(signed(key, algorithm, "unknown")) is None
    wrong = OTHER_RSA_KEY if key is RSA_KEY else ec.generate_private_key(ec.SECP256R1())
    assert await provider.tokens.claims(signed(wrong, algorithm, kid)) is None
    assert await provider.tokens.claims(signed(key, algorithm, kid, aud="another")) is None


async def test_a_public_key_is_never_taken_for_a_secret() -> None:
    """Algorithm confusion: the public key, which everybody knows, as the secret of an HS256 token."""
    provider = Provider(public(RSA_KEY, "one"))
    pem = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    der = RSA_KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    jwk = json.dumps(public(RSA_KEY, "one")).encode()
    assert await provider.tokens.claims(signed(RSA_KEY, "RS256", "one")) is not None
    for secret in (pem, der, jwk):
        raw = _hs256(secret, {"alg": "HS256", "kid": "one"})
        assert await provider.tokens.claims(raw) is None
    only_keys = Tokens(TokenRules("", RULES.issuer, RULES.audience), provider.signing_keys)
    for secret in (b"", pem):
        assert await only_keys.claims(_hs256(secret, {"alg": "HS256", "kid": "one"})) is None


def _hs256(secret: bytes, header: Minted) -> str:
    """As an attacker would, who asks no library whether that is wise."""
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in (header, payload(role="admin"))
    ]
    signature = hmac.new(secret, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


async def test_keys_that_a_token_brings_along_are_not_looked_at() -> None:
    provider = Provider(public(RSA_KEY, "one"))
    headers = {
        "kid": "mine",
        "jwk": public(OTHER_RSA_KEY, "mine"),
        "jku": "https://evil.example.com/keys",
        "x5u": "https://evil.example.com/chain",
    }
    token = jwt.encode(payload(), OTHER_RSA_KEY, algorithm="RS256", headers=headers)
    assert await provider.tokens.claims(token) is None


async def test_keys_for_something_else_do_not_sign() -> None:
    symmetric = {"kty": "oct", "kid": "oct", "k": base64.urlsafe_b64encode(SECRET.encode()).decode()}
    provider = Provider(
        public(RSA_KEY, "enc", use="enc"), public(OTHER_RSA_KEY, "ps", alg="PS256"), symmetric
    )
    assert usable(provider.fetch()) == {}
    assert await provider.tokens.claims(signed(RSA_KEY, "RS256", "enc")) is None
    assert await provider.tokens.claims(signed(OTHER_RSA_KEY, "RS256", "ps")) is None
    assert await Tokens(TokenRules(), provider.signing_keys).claims(signed(kid="oct")) is None


async def test_without_an_id_the_only_key_is_meant() -> None:
    provider = Provider(public(RSA_KEY, None))
    assert await provider.tokens.claims(signed(RSA_KEY, "RS256")) is not None
    two = Provider(public(RSA_KEY, "one"), public(OTHER_RSA_KEY, "two"))
    assert await two.tokens.claims(signed(RSA_KEY, "RS256")) is None


async def test_an_unknown_key_is_asked_for_but_not_all_the_time() -> None:
    provider = Provider(public(RSA_KEY, "one"))
    assert await provider.tokens.claims(signed(RSA_KEY, "RS256", "one")) is not None
    assert provider.asked == 1
    provider.keys.append(public(OTHER_RSA_KEY, "two"))
    new = signed(OTHER_RSA_KEY, "RS256", "two")
    for _ in range(100):
        assert await provider.tokens.claims(new) is None
    assert provider.asked == 1, "a flood of unknown ids asks nobody"
    provider.now += PAUSE_SECONDS
    assert await provider.tokens.claims(new) is not None
    assert provider.asked == 2


async def test_while_the_provider_is_away_known_keys_stay_good() -> None:
    provider = Provider(public(RSA_KEY, "one"))
    good = signed(RSA_KEY, "RS256", "one")
    assert await provider.tokens.claims(good) is not None
    provider.away = True
    for _ in range(3):
        provider.now += KEPT_SECONDS
        assert await provider.tokens.claims(good) is not None
        await provider.signing_keys._fetching  # type: ignore[misc]
    assert provider.asked == 4
    assert await provider.tokens.claims(signed(RSA_KEY, "RS256", "two")) is None


async def test_a_key_that_is_no_longer_published_is_dropped() -> None:
    provider = Provider(public(RSA_KEY, "one"), public(EC_KEY, "ec"))
    good = signed(RSA_KEY, "RS256", "one")
    assert await provider.tokens.claims(good) is not None
    del provider.keys[0]
    provider.now += KEPT_SECONDS
    assert await provider.tokens.claims(good) is not None, "the set is fetched beside"
    await provider.signing_keys._fetching  # type: ignore[misc]
    provider.now += PAUSE_SECONDS
    assert await provider.tokens.claims(good) is None


async def test_many_who_bring_a_new_key_at_once_share_one_fetch() -> None:
    provider = Provider(public(RSA_KEY, "one"))
    good = signed(RSA_KEY, "RS256", "one")
    found = await asyncio.gather(*(provider.tokens.claims(good) for _ in range(20)))
    assert all(found)
    assert provider.asked == 1


@pytest.mark.parametrize("answer", [[], "x", None, {}, {"keys": 7}, {"keys": []}, {"keys": [7]}])
async def test_what_is_no_key_set_changes_nothing(answer: Any) -> None:
    provider = Provider(public(RSA_KEY, "one"))
    good = signed(RSA_KEY, "RS256", "one")
    assert await provider.tokens.claims(good) is not None
    provider.signing_keys._fetch = lambda: answer
    provider.now += KEPT_SECONDS
    assert await provider.tokens.claims(good) is not None
    await provider.signing_keys._fetching  # type: ignore[misc]
    assert await provider.tokens.claims(good) is not None


async def test_a_key_set_is_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [public(EC_KEY, "ec")]}))
    tokens = Tokens(RULES, SigningKeys(from_file(str(file))))
    assert await tokens.claims(signed(EC_KEY, "ES256", "ec")) is not None


def test_a_key_set_of_a_url_is_fetched_within_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Client:
        def __init__(self, url: str, **options: Any) -> None:
            seen.update(options, url=url)

        fetch_data: Callable[[], Any] = staticmethod(dict)

    monkeypatch.setattr(signing_keys, "PyJWKClient", Client)
    signing_keys.from_url("https://login.example.com/keys")
    assert seen["url"] == "https://login.example.com/keys"
    assert 0 < seen["timeout"] <= 10
