"""Given a directory and a wish, the events that fulfil it, or the reason why not."""

import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from app.auth import decisions
from app.auth.decisions import (
    KEYS_PER_USER_MAX,
    Decision,
    Refusal,
    UserChange,
    first_key_is_admins,
    issue_key,
    key_of,
    revoke_key,
    with_lower,
)
from app.auth.directory import Directory
from app.core import events as ev
from tests.support.admin import START, Register, new_key

NOBODY: frozenset[str] = frozenset()


@pytest.fixture
def register() -> Register:
    register = Register()
    register.add(
        ev.DepartmentSet("law", "Law"),
        ev.UserSet("root", "admin"),
        ev.UserSet("ana", "member", "law"),
        ev.UserSet("eve", "auditor"),
        ev.UserSet("gone", "admin", disabled=True),
    )
    return register


def refused(key: str, status: int, decide: Callable[[], Decision]) -> None:
    with pytest.raises(Refusal) as caught:
        decide()
    assert (caught.value.key, caught.value.status) == (key, status)
    assert caught.value.sentence("zh") != caught.value.sentence("en")


def test_a_user_is_added_once_and_only_with_an_id_that_can_name_a_stream(register: Register) -> None:
    directory = register.directory
    assert decisions.add_user(directory, "bob", "member", "law", " Bob ") == (
        ev.UserSet("bob", "member", "law", "Bob"),
    )
    refused("user_exists", 409, lambda: decisions.add_user(directory, "ana"))
    refused("no_department", 400, lambda: decisions.add_user(directory, "bob", department_id="tax"))
    refused("name_invalid", 400, lambda: decisions.add_user(directory, "bob", name="B\0b"))
    for user_id in ("", "a b", "a/b", "a\n", "x" * 101):
        refused("id_invalid", 400, lambda user_id=user_id: decisions.add_user(directory, user_id))


def test_a_change_says_all_of_the_user_and_no_change_is_no_event(register: Register) -> None:
    change = decisions.change_user(register.directory, "ana", UserChange(role="auditor"), NOBODY)
    assert change == (ev.UserSet("ana", "auditor", "law"),)
    assert decisions.change_user(register.directory, "ana", UserChange(department_id="law"), NOBODY) == ()
    refused(
        "user_unknown",
        404,
        lambda: decisions.change_user(register.directory, "bob", UserChange(disabled=True), NOBODY),
    )


@pytest.mark.parametrize("change", [UserChange(disabled=True), UserChange(role="member")])
def test_the_last_admin_cannot_be_taken_away_unless_the_settings_have_one(
    register: Register, change: UserChange
) -> None:
    """A disabled admin does not count."""
    directory = register.directory
    refused("last_admin", 409, lambda: decisions.change_user(directory, "root", change, NOBODY))
    assert decisions.change_user(directory, "root", change, frozenset({"boss"}))
    register.add(ev.UserSet("second", "admin"))
    assert decisions.change_user(directory, "root", change, NOBODY)


def test_an_admin_of_the_settings_is_not_disabled_here(register: Register) -> None:
    disable = UserChange(disabled=True)
    refused(
        "settings_admin",
        409,
        lambda: decisions.change_user(register.directory, "root", disable, frozenset({"root"})),
    )


def test_a_key_is_random_marked_and_stored_as_a_digest(register: Register) -> None:
    new = new_key("ana", 7)
    assert new.secret.startswith("mb_")
    assert len(new.secret) == len("mb_") + 43
    (issued,) = issue_key(register.directory, new, START)
    assert isinstance(issued, ev.KeyIssued)
    assert issued.sha256 == hashlib.sha256(new.secret.encode()).hexdigest()
    assert new.secret not in str(issued)
    assert issued.scopes == ("read", "write")
    with pytest.raises(ValueError, match="32"):
        key_of(b"short")


def test_no_key_goes_beyond_the_role_of_its_user(register: Register) -> None:
    directory = register.directory
    for user_id, scopes in (("ana", ("admin",)), ("eve", ("write",))):
        wanted = new_key(user_id, scopes=with_lower(scopes))
        refused("scope_beyond_role", 400, lambda wanted=wanted: issue_key(directory, wanted, START))
    (issued,) = issue_key(directory, new_key("root", scopes=("write",)), START)
    assert isinstance(issued, ev.KeyIssued)
    assert issued.scopes == ("read", "write"), "who may change things may read them"


def test_keys_go_to_users_who_are_enabled_and_expire_in_the_future(register: Register) -> None:
    directory = register.directory
    refused("user_unknown", 404, lambda: issue_key(directory, new_key("bob"), START))
    refused("user_disabled", 409, lambda: issue_key(directory, new_key("gone"), START))
    for days in (0, -1, 10_000):
        wanted = new_key("ana", expires_at=START + timedelta(days=days))
        refused("expiry_invalid", 400, lambda wanted=wanted: issue_key(directory, wanted, START))


def test_a_user_has_at_most_a_hundred_keys_that_are_valid(register: Register) -> None:
    for number in range(1, KEYS_PER_USER_MAX + 1):
        register.add(*issue_key(register.directory, new_key("ana", number), START))
    one_more = new_key("ana", 101)
    refused("too_many_keys", 409, lambda: issue_key(register.directory, one_more, START))
    register.add(*revoke_key(register.directory, "key-1"))
    assert issue_key(register.directory, one_more, START)


def test_somebody_elses_key_looks_as_if_it_did_not_exist(register: Register) -> None:
    register.add(*issue_key(register.directory, new_key("root"), START))
    directory = register.directory
    with pytest.raises(Refusal) as foreign:
        revoke_key(directory, "key-1", of="ana")
    with pytest.raises(Refusal) as unknown:
        revoke_key(directory, "key-2", of="ana")
    assert foreign.value.sentence("en").replace("key-1", "key-2") == unknown.value.sentence("en")
    assert revoke_key(directory, "key-1", of="root") == (ev.KeyRevoked("key-1"),)
    register.add(ev.KeyRevoked("key-1"))
    assert revoke_key(directory, "key-1", of="root") == (), "a second time changes nothing"


def test_the_first_key_has_to_be_one_that_can_administer(register: Register) -> None:
    for wanted in (new_key("ana"), new_key("nobody"), new_key("root", scopes=("read", "write"))):
        with pytest.raises(Refusal, match="development mode"):
            first_key_is_admins(register.directory, wanted)
    first_key_is_admins(register.directory, new_key("root"))


def test_departments_and_quotas_are_set_once_and_removed(register: Register) -> None:
    directory = register.directory
    assert decisions.add_department(directory, "tax") == (ev.DepartmentSet("tax"),)
    refused("department_exists", 409, lambda: decisions.add_department(directory, "law"))
    assert decisions.rename_department(directory, "law", "Law") == ()
    refused("no_department", 404, lambda: decisions.remove_department(directory, "tax"))
    quota = ev.QuotaSet("department", "law", "cost", "day", 0.5)
    assert decisions.set_quota(directory, quota) == (quota,)
    register.add(quota)
    assert decisions.set_quota(directory, quota) == ()
    assert decisions.remove_quota(directory, "department", "law", "cost", "day") == (
        ev.QuotaRemoved("department", "law", "cost", "day"),
    )
    refused("no_quota", 404, lambda: decisions.remove_quota(directory, "user", "ana", "cost", "day"))


@pytest.mark.parametrize("limit", [-1, float("nan"), float("inf"), 1e16, 1.5])
def test_a_limit_that_cannot_be_counted_up_to_is_refused(register: Register, limit: float) -> None:
    quota = ev.QuotaSet("user", "ana", "tokens", "day", limit)
    refused("quota_limit", 400, lambda: decisions.set_quota(register.directory, quota))


def test_a_quota_of_an_unknown_department_is_refused(register: Register) -> None:
    directory: Directory = register.directory
    quota = ev.QuotaSet("department", "tax", "tokens", "day", 1)
    refused("no_department", 404, lambda: decisions.set_quota(directory, quota))
