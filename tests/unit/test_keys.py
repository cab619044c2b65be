"""Contract section 9: keys of the settings, in constant time and hashed; what roles and scopes may."""

import pytest

from app.auth.principal import KeyRing, Principal, Role, Scope, digest_of, is_id, within_role

ANA = Principal("ana", "member")
EVE = Principal("eve", "auditor")
RING = KeyRing([(digest_of("key of ana"), ANA), (digest_of("key of eve"), EVE)])


def test_a_key_is_its_principal() -> None:
    assert RING.identify("key of ana") == ANA
    assert RING.identify("key of eve") == EVE
    assert ANA.may_write
    assert not EVE.may_write


def test_wrong_keys_are_nobody() -> None:
    for key in ("", "key of bob", "KEY OF ANA", "key of ana ", "\udcff", digest_of("key of ana")):
        assert RING.identify(key) is None


def test_without_keys_nobody_is_known() -> None:
    ring = KeyRing([])
    assert not ring
    assert ring.identify("anything") is None
    assert RING.admins == frozenset()


@pytest.mark.parametrize(
    ("role", "scopes", "writes", "administers", "sees_all"),
    [
        ("admin", ("read", "write", "admin"), True, True, True),
        ("admin", ("read", "write"), True, False, True),
        ("admin", ("read",), False, False, True),
        ("member", ("read", "write", "admin"), True, False, False),
        ("member", ("read",), False, False, False),
        ("auditor", ("read", "write", "admin"), False, False, True),
    ],
)
def test_a_key_may_what_both_its_role_and_its_scopes_allow(
    role: Role, scopes: tuple[Scope, ...], writes: bool, administers: bool, sees_all: bool
) -> None:
    principal = Principal("ana", role, scopes=scopes)
    assert (principal.may_write, principal.may_administer, principal.sees_all) == (
        writes,
        administers,
        sees_all,
    )


def test_scopes_are_cut_to_what_the_role_has() -> None:
    every: tuple[Scope, ...] = ("read", "write", "admin")
    assert within_role(every, "admin") == every
    assert within_role(every, "member") == ("read", "write")
    assert within_role(("write", "admin"), "auditor") == ()


def test_quotas_bind_members_but_neither_admins_nor_service_keys() -> None:
    """Section 9: departments' quotas "bind their members and not admins or service keys"."""
    assert Principal("ana", "member", "sales").charged_to == "sales"
    assert Principal("ana", "member", "sales", service=True).charged_to == ""
    assert Principal("root", "admin", "sales").charged_to == ""


@pytest.mark.parametrize("text", ["", "a b", "a/b", "a\n", "ana\0", "ä", "x" * 101])
def test_what_cannot_be_part_of_a_streams_name_is_no_id(text: str) -> None:
    assert not is_id(text)
    assert is_id("Ana.B_c-d@example.com")
