"""`minutebook users | keys | departments | quotas`: every change is an event with its author, a refusal is one line."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from click.testing import Result

from app.auth.principal import digest_of
from app.cli import cli
from app.core.streams import ADMIN
from app.log.log import Log
from tests.support.commands import invoke

Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(dsn: str) -> Run:
    async def run(group: str, *arguments: object, code: int = 0, **settings: object) -> Result:
        result = await asyncio.to_thread(invoke, cli.commands[group], dsn, *arguments, **settings)
        assert result.exit_code == code, result.output
        return result

    return run


async def events(log: Log) -> list[tuple[str, str, dict[str, Any]]]:
    """Type, author and content of what was recorded."""
    recorded = await log.reader.stream(ADMIN)
    return [(one.type, one.actor, json.loads(one.payload)) for one in recorded]


async def test_a_key_is_printed_once_and_only_its_digest_is_kept(run: Run, log: Log) -> None:
    made = await run("keys", "create", "root", "--role", "admin", "--name", "laptop", "--as", "user:boss")
    secret = made.stdout.strip()
    assert secret.startswith("mb_")
    (added, issued) = await events(log)
    assert added[:2] == ("user.set", "user:boss")
    assert issued[:2] == ("key.issued", "user:boss")
    assert issued[2]["sha256"] == digest_of(secret)
    assert secret not in json.dumps(issued)
    listed = await run("keys", "list")
    assert secret not in listed.output
    assert secret[:9] in listed.output
    (line,) = json.loads((await run("keys", "list", "--json")).output)
    assert (line["user_id"], line["scopes"], line["state"]) == ("root", ["read", "write", "admin"], "valid")


async def test_users_departments_and_quotas_go_through_the_shell(run: Run, log: Log) -> None:
    await run("departments", "add", "law", "--name", "Law")
    await run("departments", "set", "law", "--name", "Lawyers")
    await run("users", "add", "ana", "--department", "law")
    await run("users", "set", "ana", "--role", "auditor", "--name", "Ana")
    await run("users", "disable", "ana")
    await run("quotas", "set", "department", "law", "tokens", "day", "1000")
    await run("quotas", "set", "user", "ana", "cost", "month", "2.5")
    await run("quotas", "remove", "user", "ana", "cost", "month")
    assert [kind for kind, _, _ in await events(log)] == [
        "department.set",
        "department.set",
        "user.set",
        "user.set",
        "user.set",
        "quota.set",
        "quota.set",
        "quota.removed",
    ]
    assert {author for _, author, _ in await events(log)} == {"system"}
    (ana,) = json.loads((await run("users", "list", "--department", "law", "--json")).output)
    assert (ana["role"], ana["name"], ana["disabled"]) == ("auditor", "Ana", True)
    assert "yes" in (await run("users", "list")).output
    assert "1000" in (await run("quotas", "list")).output
    await run("departments", "remove", "law")
    assert json.loads((await run("quotas", "list", "--json")).output) == []
    assert json.loads((await run("departments", "list", "--json")).output) == []
    assert "-" in (await run("users", "enable", "ana")).output


async def test_a_revoked_key_is_shown_only_when_asked_for(run: Run) -> None:
    made = json.loads((await run("keys", "create", "ana", "--role", "member", "--json")).output)
    key_id = made["details"]["key_id"]
    assert made["details"]["scopes"] == ["read", "write"]
    await run("keys", "revoke", key_id, "--reason", "lost")
    assert json.loads((await run("keys", "list", "--json")).output) == []
    (line,) = json.loads((await run("keys", "list", "--all", "--json")).output)
    assert (line["state"], line["reason"], line["revoked_by"]) == ("revoked", "lost", "system")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("users", "add", "a b"), 1, "letters, digits"),
        (("users", "add", "ana", "--department", "tax"), 1, "no department 'tax'"),
        (("users", "set", "nobody", "--role", "admin"), 1, "no user 'nobody'"),
        (("users", "add", "ana", "--as", "boss"), 2, "user:NAME"),
        (("users", "add", "ana", "--as", "user:a b"), 2, "user:NAME"),
        (("users", "disable", "root"), 1, "last admin"),
        (("keys", "create", "nobody"), 1, "no user 'nobody'. `minutebook keys create nobody --role admin`"),
        (("keys", "create", "eve", "--role", "auditor", "--scope", "write"), 1, "role auditor"),
        (("keys", "revoke", "nothing"), 1, "no key 'nothing'"),
        (("keys", "create", "root", "--days", "0"), 2, "--days"),
        (("quotas", "set", "department", "tax", "tokens", "day", "1"), 1, "no department 'tax'"),
        (("quotas", "set", "user", "ana", "tokens", "day", "1.5"), 1, "whole"),
        (("quotas", "set", "user", "ana", "tokens", "day", "-1"), 2, "-1"),
        (("quotas", "remove", "user", "ana", "tokens", "day"), 1, "no quota"),
        (("departments", "remove", "tax"), 1, "no department 'tax'"),
    ],
)
async def test_a_refusal_is_one_line_and_changes_nothing(
    run: Run, log: Log, arguments: tuple[str, ...], code: int, part: str
) -> None:
    await run("users", "add", "root", "--role", "admin")
    refused = await run(*arguments, code=code)
    assert part in refused.output
    assert "Traceback" not in refused.output
    assert len([one for one in await events(log) if one[2].get("user_id") != "eve"]) == 1


async def test_with_an_admin_in_the_settings_everybody_else_may_go(run: Run) -> None:
    await run("users", "add", "root", "--role", "admin")
    await run(
        "users",
        "disable",
        "root",
        api_keys=[{"user": "boss", "key": "a key of sixteen or more", "role": "admin"}],
    )


async def test_a_refusal_speaks_the_language_of_the_settings(run: Run) -> None:
    assert "没有用户" in (await run("users", "disable", "nobody", code=1, locale="zh")).output
