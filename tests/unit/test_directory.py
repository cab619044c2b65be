"""Given events of administration, who there is and what they may use."""

from datetime import timedelta

import pytest

from app.auth.decisions import issue_key
from app.auth.directory import folded, parse_time, show_time
from app.core import events as ev
from app.core.events import AdminEvent
from tests.support.admin import START, Register, new_key


def test_what_is_said_last_of_a_user_holds() -> None:
    register = Register()
    register.add(ev.UserSet("ana", "member", name="Ana"))
    directory = register.add(ev.UserSet("ana", "auditor", disabled=True))
    user = directory.user("ana")
    assert user is not None
    assert (user.role, user.name, user.disabled) == ("auditor", "", True)
    assert (user.created_at, user.updated_at) == (START + timedelta(hours=1), START + timedelta(hours=2))
    assert directory.user("bob") is None


def test_a_key_is_found_by_its_digest_and_stays_known_when_it_is_revoked() -> None:
    register = Register()
    register.add(ev.UserSet("ana"))
    assert not register.directory.has_issued
    new = new_key("ana", expires_at=START + timedelta(days=2))
    register.add(*issue_key(register.directory, new, START), actor="user:root")
    (key,) = register.directory.keys_of("ana")
    assert register.directory.key_of_digest(key.sha256) == key
    assert new.secret.startswith(key.prefix)
    assert new.secret not in "".join(recorded.payload for recorded in register.recorded)
    assert (key.is_good(START), key.is_good(START + timedelta(days=2))) == (True, False)
    register.add(ev.KeyRevoked(key.key_id, "lost"), ev.KeyRevoked(key.key_id, "again"), actor="user:ana")
    revoked = register.directory.key(key.key_id)
    assert revoked is not None
    assert (revoked.is_good(START), revoked.reason, revoked.revoked_by) == (False, "lost", "user:ana")
    assert register.directory.has_issued


def test_a_department_takes_its_quotas_with_it_and_leaves_its_members() -> None:
    register = Register()
    tokens = ev.QuotaSet("department", "law", "tokens", "day", 100)
    requests = ev.QuotaSet("department", "law", "requests", "hour", 5)
    own = ev.QuotaSet("user", "ana", "cost", "month", 2.5)
    register.add(ev.DepartmentSet("law", "Law"), ev.UserSet("ana", department_id="law"))
    directory = register.add(tokens, requests, own, ev.QuotaSet("department", "law", "tokens", "day", 70))
    assert [quota.limit for quota in directory.quotas("department", "law")] == [5, 70]
    assert [user.user_id for user in directory.members("law")] == ["ana"]
    register.add(ev.DepartmentRemoved("law"))
    assert directory.quotas("department", "law") == ()
    assert directory.quotas("user", "ana") == (own,)
    user = directory.user("ana")
    assert user is not None
    assert user.department_id == ""
    assert directory.department("law") is None
    register.add(ev.QuotaRemoved("user", "ana", "cost", "month"))
    assert directory.all_quotas == []


def test_an_event_is_applied_once_and_none_is_skipped() -> None:
    register = Register()
    register.add(ev.UserSet("ana"), ev.UserSet("ana", "admin"), ev.UserSet("ana", "auditor"))
    directory = folded(register.recorded[:1])
    directory.apply(register.recorded[0])
    with pytest.raises(ValueError, match="offset 1"):
        directory.apply(register.recorded[2])
    directory.apply(register.recorded[1])
    user = directory.user("ana")
    assert user is not None
    assert user.role == "admin"


def test_an_event_of_a_newer_release_or_about_something_else_changes_nothing() -> None:
    from msgspec.structs import replace

    register = Register()
    register.add(ev.UserSet("ana"))
    unknown = replace(register.recorded[0], offset=2, type="user.cloned", payload='{"type":"user.cloned"}')
    directory = folded([*register.recorded, unknown])
    register.add(ev.ProjectionChecked("tasks", 1, 5, 3, 0))
    assert register.directory.offset == 2
    assert (directory.offset, [user.user_id for user in directory.users]) == (2, ["ana"])


@pytest.mark.parametrize("cut", range(7))
def test_a_directory_that_is_replaced_becomes_the_other_one_and_goes_on(cut: int) -> None:
    events: list[AdminEvent] = [
        ev.UserSet("ana"),
        ev.KeyIssued("k", "ana", "ab", "mb_"),
        ev.DepartmentSet("law"),
        ev.UserSet("bob", "admin", "law"),
        ev.QuotaSet("user", "bob", "cost", "day", 1),
        ev.KeyRevoked("k"),
    ]
    register = Register()
    register.add(*events)
    held = folded(register.recorded[:4])
    held.take(folded(register.recorded[:cut]))
    for recorded in register.recorded:
        held.apply(recorded)
    assert vars(held) == vars(register.directory)


def test_times_are_in_utc_and_without_a_zone_refused() -> None:
    assert show_time(parse_time("2027-01-31T12:00:00+02:00")) == "2027-01-31T10:00:00Z"
    with pytest.raises(ValueError, match="time zone"):
        parse_time("2027-01-31T12:00:00")
