"""Contract section 9, over the log: what one node changes of users and keys holds on every other one at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from app.auth import decisions
from app.auth.administration import Administration
from app.auth.decisions import NewKey, Refusal, UserChange, issue_key, revoke_key
from app.auth.directory import Directory
from app.auth.following import FollowedDirectory
from app.auth.identities import Identities, Presented
from app.auth.key_uses import KeyUses
from app.auth.principal import DEVELOPMENT_USER, KeyRing, Principal, digest_of
from app.auth.tokens import Claims, Tokens
from app.core.streams import user as stream_of_user
from app.log.log import Log
from tests.support.admin import new_key
from tests.support.logs import open_logs, within

LATER = datetime(2100, 1, 1, tzinfo=UTC)


class Node:
    """What a process has of users and keys. Its directory follows the log only if it is opened."""

    def __init__(self, log: Log, keys: KeyRing | None = None, tokens: Tokens | None = None) -> None:
        self.log = log
        self.followed = FollowedDirectory(log)
        self.now = 6_000.0
        self.uses = KeyUses(log, lambda: self.now)
        self.identities = Identities(keys or KeyRing([]), self.followed, self.uses, tokens)
        self.administration = Administration(self.followed, settings_admins=self.identities.settings_admins)

    async def add(self, user_id: str, role: str = "member") -> None:
        await self.administration.change(
            lambda directory: decisions.add_user(directory, user_id, role),  # type: ignore[arg-type]
            "user:root",
        )

    async def set(self, user_id: str, **change: object) -> None:
        await self.administration.change(
            lambda directory: decisions.change_user(
                directory,
                user_id,
                UserChange(**change),
                self.administration.settings_admins,  # type: ignore[arg-type]
            ),
            "user:root",
        )

    async def issue(self, new: NewKey) -> None:
        await self.administration.change(
            lambda directory: issue_key(directory, new, datetime.now(UTC)), "user:root"
        )

    async def revoke(self, key_id: str) -> None:
        await self.administration.change(lambda directory: revoke_key(directory, key_id), "user:root")

    async def whose(self, key: str | None = None, token: str | None = None) -> Principal | None:
        return await self.identities.identify(Presented(key, token))


class AnyToken(Tokens):
    """Takes every token: it is the user's id, and what it claims is `claims`."""

    def __init__(self, role: str = "member", expires_at: datetime = LATER) -> None:
        self.role = role
        self.expires_at = expires_at

    async def claims(self, token: str) -> Claims | None:
        return Claims(token, self.role, "claimed", self.expires_at)  # type: ignore[arg-type]


@pytest.fixture
async def nodes(dsn: str) -> AsyncIterator[tuple[Node, Node]]:
    async with open_logs(dsn, 2) as logs:
        here, there = (Node(log) for log in logs)
        yield here, there
        for node in (here, there):
            await node.followed.close()
            await node.uses.close()


async def test_the_first_key_ends_the_development_mode_on_every_node_for_good(
    nodes: tuple[Node, Node],
) -> None:
    here, there = nodes
    developer = Principal(DEVELOPMENT_USER, "admin", origin="development")
    assert await here.whose() == await there.whose("anything") == developer
    await here.add("root", "admin")
    assert await there.whose() == developer, "a user alone changes nothing"
    new = new_key("root")
    await here.issue(new)
    assert await there.whose() is None
    assert await there.whose(new.secret) == Principal("root", "admin", key_id=new.key_id, origin="key")
    await here.revoke(new.key_id)
    assert await there.whose(new.secret) is None
    assert await there.whose() is None
    assert not here.identities.development


async def test_a_key_that_is_revoked_is_refused_on_the_other_node_at_once(nodes: tuple[Node, Node]) -> None:
    """Guard: without `caught_up` in `identify` the other node, whose directory follows nothing here, takes the key."""
    here, there = nodes
    await here.add("ana")
    new = new_key("ana")
    await here.issue(new)
    assert await there.whose(new.secret) is not None
    await here.revoke(new.key_id)
    assert await there.whose(new.secret) is None


async def test_whoever_is_disabled_is_refused_and_may_come_back(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await here.add("ana")
    new = new_key("ana")
    await here.issue(new)
    await here.set("ana", disabled=True)
    assert await there.whose(new.secret) is None
    await here.set("ana", disabled=False, role="auditor")
    found = await there.whose(new.secret)
    assert found is not None
    assert (found.role, found.scopes, found.may_write) == ("auditor", ("read",), False)


async def test_a_key_that_has_expired_is_refused(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await here.add("ana")
    soon = datetime.now(UTC) + timedelta(milliseconds=300)
    new = new_key("ana", expires_at=soon)
    await here.issue(new)
    found = await there.whose(new.secret)
    assert found is not None
    assert found.expires_at == soon
    assert await within(there.identities.watch(found)) is None
    assert datetime.now(UTC) >= soon
    assert await there.whose(new.secret) is None


@asynccontextmanager
async def watching(node: Node, principal: Principal) -> AsyncIterator["asyncio.Task[Principal | None]"]:
    """Begun when it waits for the directory."""
    watch = asyncio.create_task(node.identities.watch(principal))
    await asyncio.sleep(0)
    assert not watch.done()
    yield watch
    watch.cancel()


async def test_who_watches_a_principal_is_told_on_the_other_node(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await there.followed.open()
    await here.add("ana")
    new = new_key("ana")
    await here.issue(new)
    first = await there.whose(new.secret)
    assert first is not None
    async with watching(there, first) as watch:
        await here.add("bob")
        await here.set("ana", role="auditor")
        second = await within(watch)  # type: ignore[arg-type]
    assert second is not None
    assert (second.user_id, second.role) == ("ana", "auditor")
    async with watching(there, second) as watch:
        await here.revoke(new.key_id)
        assert await within(watch) is None  # type: ignore[arg-type]


async def test_sockets_of_the_development_mode_are_told_when_it_ends(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await there.followed.open()
    developer = await there.whose()
    assert developer is not None
    await here.add("root", "admin")
    async with watching(there, developer) as watch:
        await here.issue(new_key("root"))
        assert await within(watch) is None  # type: ignore[arg-type]


async def test_the_directory_beats_the_claims_of_a_token(log: Log) -> None:
    node = Node(log, tokens=AnyToken("admin"))
    assert not node.identities.development
    assert await node.whose() is None
    claimed = await node.whose(token="ana")
    assert claimed == Principal("ana", "admin", "claimed", origin="token", expires_at=LATER)
    await node.add("ana", "member")
    found = await node.whose(token="ana")
    assert found is not None
    assert (found.role, found.department_id) == ("member", "")
    await node.set("ana", disabled=True)
    assert await node.whose(token="ana") is None
    assert await node.whose("wrong key", token="bob") is None, "where a key comes too, the key counts"


async def test_a_token_that_expires_ends_what_it_has_opened(log: Log) -> None:
    node = Node(log, tokens=AnyToken(expires_at=datetime.now(UTC) + timedelta(milliseconds=200)))
    principal = await node.whose(token="ana")
    assert principal is not None
    assert await within(node.identities.watch(principal)) is None


async def test_admins_of_the_settings_are_the_operators_way_back_in(log: Log) -> None:
    ring = KeyRing(
        [
            (digest_of("key of boss"), Principal("boss", "admin")),
            (digest_of("key of ana"), Principal("ana", "member")),
        ]
    )
    node = Node(log, ring)
    assert await node.whose() is None
    await node.add("boss", "member")
    await node.add("ana", "admin")
    for user_id in ("boss", "ana"):
        found = await node.whose(f"key of {user_id}")
        assert found is not None
        assert found.role == ("admin" if user_id == "boss" else "member"), (
            "their role is that of the settings"
        )
    with pytest.raises(Refusal, match="api_keys"):
        await node.set("boss", disabled=True)
    await node.set("ana", disabled=True)
    assert await node.whose("key of ana") is None


async def test_of_two_admins_who_take_each_other_away_at_once_one_stays(nodes: tuple[Node, Node]) -> None:
    """Guard: without the expected offset both are gone."""
    here, there = nodes
    for name in ("ana", "bob"):
        await here.add(name, "admin")
    await there.administration.read()
    ended = await asyncio.gather(
        here.set("ana", disabled=True), there.set("bob", disabled=True), return_exceptions=True
    )
    refused = [one for one in ended if isinstance(one, Refusal)]
    assert [one.key for one in refused] == ["last_admin"]
    directory = await here.administration.read()
    assert sum(not user.disabled for user in directory.users) == 1


async def test_changes_from_both_nodes_at_once_all_hold(nodes: tuple[Node, Node]) -> None:
    await asyncio.gather(*(nodes[number % 2].add(f"user-{number}") for number in range(12)))
    for node in nodes:
        directory: Directory = await node.administration.read()
        assert len(directory.users) == directory.offset == 12


async def test_a_use_is_noted_once_over_all_nodes_and_nobody_waits_for_it(nodes: tuple[Node, Node]) -> None:
    here, there = nodes
    await here.add("ana")
    new = new_key("ana")
    await here.issue(new)
    await here.add("bob")
    other = new_key("bob", 2)
    await here.issue(other)
    assert await here.whose(other.secret) is not None
    assert here.uses._noted == {other.key_id}
    for seconds in (0, 599, 600):
        for node in (here, there, here, there):
            node.now = 6_000.0 + seconds
            assert await node.whose(new.secret) is not None
        for node in nodes:
            await node.uses.close()
    assert here.uses._noted == {new.key_id}, "of these ten minutes alone"
    noted = await here.log.reader.stream(stream_of_user("ana"))
    assert [recorded.type for recorded in noted] == ["key.used"] * 2, "once in ten minutes"
    assert msgspec.json.decode(noted[0].payload) == {"type": "key.used", "key_id": new.key_id}
    assert await here.whose("mb_wrong") is None


async def test_a_log_that_was_restored_to_an_earlier_time_is_read_anew(log: Log) -> None:
    """And the development mode does not come back with it, whatever the log says then."""
    node = Node(log)
    await node.add("root", "admin")
    new = new_key("root")
    await node.issue(new)
    assert not node.identities.development
    later = FollowedDirectory(log)
    await later.caught_up()
    held = later.directory
    held.offset += 5  # as if five more events had been there before
    assert await later.caught_up() is held
    assert held.offset == 2
    node.followed.directory.take(Directory())
    assert not node.identities.development
