"""Contract section 9: keys in constant time and hashed; without any key, development mode."""

from app.auth.principal import DEVELOPMENT_USER, KeyRing, Principal, digest_of

ANA = Principal("ana", "member")
EVE = Principal("eve", "auditor")
RING = KeyRing([(digest_of("key of ana"), ANA), (digest_of("key of eve"), EVE)])


def test_a_key_is_its_principal() -> None:
    assert RING.identify("key of ana") == ANA
    assert RING.identify("key of eve") == EVE
    assert ANA.may_write
    assert not EVE.may_write


def test_wrong_and_missing_keys_are_nobody() -> None:
    for key in (None, "", "key of bob", "KEY OF ANA", "key of ana ", "\udcff", digest_of("key of ana")):
        assert RING.identify(key) is None


def test_without_keys_everybody_is_the_development_user() -> None:
    ring = KeyRing([])
    assert ring.development
    assert ring.identify("anything") == Principal(DEVELOPMENT_USER, "admin")
