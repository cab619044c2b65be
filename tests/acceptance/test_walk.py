"""Every route of the application, walked by people who may not go there (contract, section 9).

The routes are those of the application's own table (`tests/support/walk.py`): one that is added is walked.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.databases import TestServer
from tests.support.walk import API, NEVER, PUBLIC, Call, api_calls, calls, sample
from tests.support.world import World, all_of, demand_problem, world

MORE: dict[str, dict[str, Any]] = {
    "POST /api/v1/chat/sessions": {"agent_name": "assistant"},
    "PATCH /api/v1/chat/sessions/{session_id}": {"title": "another"},
    "POST /api/v1/chat/sessions/{session_id}/messages": {"content": "hello"},
    "POST /api/v1/chat/sessions/{session_id}/openai-messages": {
        "messages": [{"role": "user", "content": "hello"}]
    },
    "POST /api/v1/reminders": {"cron": "0 9 1 1 *"},
    "POST /api/v1/tasks": {"message": "hello"},
    "PATCH /api/v1/admin/users/{user_id}": {"name": "another"},
}
"""What the smallest body by the document lacks to be one that changes something."""


@pytest.fixture(scope="module")
def walked(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(server, tmp_path_factory) as made:
        yield made


def body(call: Call) -> dict[str, Any]:
    """A body that the call takes, for the client's `request`."""
    if call.form:
        return {"files": {"file": ("note.txt", b"a note")}}
    if call.schema is None:
        return {}
    return {"json": sample(call.schema) | MORE.get(call.name, {})}


def broken(call: Call) -> dict[str, Any]:
    """One that it does not take."""
    return {"content": b'{"message":', "headers": {"content-type": "application/json"}} if call.writes else {}


def same(answer: httpx.Response, value: str) -> tuple[int, str]:
    return answer.status_code, answer.text.replace(value, "IT")


def test_every_route_is_of_the_api_or_known_to_be_public() -> None:
    """Guard: a route that nobody asks for a key."""
    outside = {call.path for call in calls() if not call.path.startswith(API)}
    assert all(path == "/" or path.startswith(PUBLIC[1:]) for path in outside), outside
    assert MORE.keys() <= {call.name for call in api_calls()}


def test_the_walk_has_a_thing_for_every_parameter(walked: World) -> None:
    """Guard: a route whose things of somebody else's nobody asks for."""
    needed = {name for call in api_calls() for name in call.parameters}
    assert needed <= walked.bobs.keys(), "give bob one of these in tests/support/world.py"


async def test_bobs_things_are_there_for_bob(walked: World) -> None:
    """What the others are refused is there: without this the walk would walk past nothing."""
    single = [call for call in api_calls() if call.method == "GET" and call.parameters]
    own = [call for call in single if not call.administration]
    async with walked.client("bob") as bob:
        answers = await all_of(bob.get(call.at(walked.bobs)) for call in own)
    for call, answer in zip(own, answers, strict=True):
        assert answer.status_code == 200, (call.name, answer.text)


@pytest.mark.parametrize("who", [None, "wrong", "revoked", "expired"])
async def test_without_a_good_key_nothing_is_told_and_nothing_done(walked: World, who: str | None) -> None:
    """Section 9: "API keys in `X-API-Key` or `api_key=`; JWTs in `Authorization: Bearer` or `token=`"."""
    secret = None if who is None else walked.keys.get(who, "mb_wrong")
    ways: list[dict[str, Any]] = [{}]
    if secret is not None:
        ways = [{"headers": {"X-API-Key": secret}}, {"params": {"api_key": secret}}]
    if who == "wrong":
        ways += [{"headers": {"Authorization": f"Bearer {secret}"}}, {"params": {"token": secret}}]
    with walked.nothing_stored():
        async with walked.client(None) as nobody:
            wanted = [
                (call, way, body if number else broken)
                for call in api_calls()
                for number, way in enumerate(ways)
            ]
            answers = await all_of(
                nobody.request(call.method, call.at(walked.bobs), **_merged(make(call), way))
                for call, way, make in wanted
            )
        for (call, way, _), answer in zip(wanted, answers, strict=True):
            demand_problem(answer, (401,), (call.name, way))
            assert answer.headers["www-authenticate"] == "Bearer"


def _merged(request: dict[str, Any], way: dict[str, Any]) -> dict[str, Any]:
    return {**request, **way, "headers": {**request.get("headers", {}), **way.get("headers", {})}}


@pytest.mark.parametrize("who", ["eve", "reader"])
async def test_who_may_only_read_changes_nothing(walked: World, who: str) -> None:
    """Section 9: "auditor (reads everything, changes nothing)"; and so does a key of the scope read alone."""
    writing = [call for call in api_calls() if call.writes]
    wanted = [
        (call, things, make) for call in writing for things in (walked.bobs, {}) for make in (body, broken)
    ]
    with walked.nothing_stored():
        async with walked.client(who) as reader:
            answers = await all_of(
                reader.request(call.method, call.at(things), **make(call)) for call, things, make in wanted
            )
        for (call, _, make), answer in zip(wanted, answers, strict=True):
            hidden = call.administration and who == "reader"
            demand_problem(answer, (404,) if hidden else (403,), (call.name, make.__name__))


async def test_for_a_member_there_is_no_administration(walked: World) -> None:
    """It looks like a path that is not there."""
    there = [call for call in api_calls() if call.administration]
    assert there
    with walked.nothing_stored():
        async with walked.client("ana") as ana:
            nothing = await ana.get("/api/v1/admin/nothing-of-that-name")
            for make in (body, broken):
                answers = await all_of(
                    ana.request(call.method, call.at(walked.bobs), **make(call)) for call in there
                )
                for call, answer in zip(there, answers, strict=True):
                    demand_problem(answer, (404,), call.name)
                    assert answer.text == nothing.text, call.name


@pytest.mark.parametrize("make", [body, broken])
async def test_somebody_elses_things_look_as_if_they_had_never_been(walked: World, make: Any) -> None:
    """Section 9: "A member sees only their own"; section 7: "behaves as if it did not exist"."""
    wanted = [call for call in api_calls() if call.parameters and not call.administration]
    assert {name for call in wanted for name in call.parameters} >= {
        "conversation_id",
        "session_id",
        "task_id",
    }
    with walked.nothing_stored():
        async with walked.client("ana") as ana:
            bobs = await all_of(
                ana.request(call.method, call.at(walked.bobs), **make(call)) for call in wanted
            )
            never = await all_of(ana.request(call.method, call.at({}), **make(call)) for call in wanted)
        for call, his, nobodys in zip(wanted, bobs, never, strict=True):
            demand_problem(his, (404,) if make is body else (400, 404), call.name)
            (name,) = call.parameters
            assert same(his, walked.bobs[name]) == same(nobodys, NEVER), call.name


def naming(call: Call, name: str, value: str) -> dict[str, str]:
    """A range of time ends in the past, so that two answers can be compared."""
    return {"until": "2026-01-01T00:00:00Z", name: value} if "until" in call.query else {name: value}


async def test_naming_somebody_elses_things_in_a_query_tells_nothing(walked: World) -> None:
    """`owner=`, `department=`, and every other parameter that takes an id; also of a thing of one's own."""
    async with walked.client("ana") as ana:
        told = await ana.post("/api/v1/portal/chat", json={"message": "hello", "conversation_id": "anas"})
        own = {**walked.bobs, "conversation_id": "anas", "task_id": told.json()["task_id"]}
        wanted = [
            (call, name)
            for call in api_calls()
            if not call.administration
            for name in call.query
            if name in walked.bobs and name not in ("subject", "user_id")
        ]
        assert {"owner", "conversation_id", "task_id", "task"} <= {name for _, name in wanted}
        with walked.nothing_stored():
            bobs = await all_of(
                ana.request(
                    call.method, call.at(own), params=naming(call, name, walked.bobs[name]), **body(call)
                )
                for call, name in wanted
            )
            never = await all_of(
                ana.request(call.method, call.at(own), params=naming(call, name, NEVER), **body(call))
                for call, name in wanted
            )
    for (call, name), his, nobodys in zip(wanted, bobs, never, strict=True):
        assert same(his, walked.bobs[name]) == same(nobodys, NEVER), (call.name, name)
        assert "secret" not in his.text, (call.name, name)
        if name == "owner":
            demand_problem(his, (404,), (call.name, name))
