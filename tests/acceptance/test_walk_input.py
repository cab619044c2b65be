"""Every route of the application, walked with what it cannot use: it says so in one sentence, and stores nothing.

Somebody who may do anything sends it, so that nothing but the input is in the way. What has to be refused is apart from
what only may be: a text with a null byte in it is a message all the same, and kept with U+FFFD in its place.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import httpx
import pytest

from app.api.errors import JSON_BYTES_MAX
from tests.acceptance.test_walk import body
from tests.support.databases import TestServer
from tests.support.walk import Call, Json, api_calls, calls, sample
from tests.support.world import World, all_of, demand_problem, world

JSON = {"content-type": "application/json"}
DEEP = 10_000
HUGE = "1" + "0" * 400
NOT_JSON = (
    b"",
    b"{",
    b'{"a":}',
    b"nul",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b'{"a": NaN}',
    b"{'a': 1}",
    b"{}{}",
    b"\0",
)
NO_OBJECT = (b"[]", b'"text"', b"1", b"null", b"true", b"[[]]")
OTHER_TYPES = (
    "text/plain",
    "application/xml",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "multipart/form-data",
    "application/octet-stream",
    "nonsense",
)
SEGMENTS = (
    "%00",
    "a%00b",
    "%ff%fe",
    "%ed%a0%80",
    "%0a%0d",
    "..%2f..%2fetc%2fpasswd",
    "a" * 5000,
    "%F0%9F%98%80",
    "' OR 1=1 --",
)
"""What stands in a path in the place of an id."""
VALUES = (
    "",
    "x",
    "-1",
    "0",
    HUGE,
    "1e400",
    "nan",
    "inf",
    "a\0b",
    "\0",
    "x" * 5000,
    "'; DROP TABLE events; --",
    "[]",
)
"""What stands in a query."""
HEADERS: tuple[dict[str, bytes], ...] = (
    {"Accept": b"nonsense", "Last-Event-ID": b"nonsense", "Cookie": b"a=\xff; =; ;;", "Range": b"bytes=5-1"},
    {"Accept": b"text/html;q=nonsense, */*;q=2", "X-Request-ID": b"\xff\xfe", "Last-Event-ID": b"\xff" * 100},
    {"X-Request-ID": b"x" * 5000, "Accept-Language": b"\xff\xfe", "traceparent": b"00-nonsense"},
    {"X-Forwarded-For": b"' OR 1=1", "If-None-Match": b'"x', "Content-Type": b"\xff", "Expect": b"nonsense"},
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")


@pytest.fixture(scope="module")
def walked(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(server, tmp_path_factory) as made:
        yield made


Request = tuple[Call, dict[str, Any]]


async def asked(
    walked: World, wanted: Iterable[Request]
) -> list[tuple[Call, dict[str, Any], httpx.Response]]:
    """Bob for what is his, root for the administration."""
    listed = list(wanted)
    async with walked.client("bob") as bob, walked.client("root") as root:
        answers = await all_of(
            (root if call.administration else bob).request(
                call.method, more.pop("path", None) or call.at(walked.bobs), **more
            )
            for call, more in listed
        )
    return [(call, more, answer) for (call, more), answer in zip(listed, answers, strict=True)]


async def demand_refused(walked: World, wanted: Iterable[Request], *statuses: int) -> None:
    with walked.nothing_stored():
        for call, more, answer in await asked(walked, wanted):
            demand_problem(answer, statuses, (call.name, str(more)[:200]))


async def demand_unharmed(walked: World, wanted: Iterable[Request]) -> None:
    """Taken or refused, but with a sentence then."""
    for call, more, answer in await asked(walked, wanted):
        about = (call.name, str(more)[:300])
        if answer.status_code >= 400:
            demand_problem(answer, range(400, 500), about)
    walked.demand_calm()


def taking_json() -> list[Call]:
    return [call for call in api_calls() if call.schema is not None]


def encoded(value: Any) -> dict[str, Any]:
    return {"content": json.dumps(value).encode(), "headers": JSON}


async def test_a_body_that_is_too_large_is_413(walked: World) -> None:
    """A byte more than is taken, announced or not."""
    large = b'{"message":"' + b"x" * (JSON_BYTES_MAX - 13) + b'"}'
    assert len(large) == JSON_BYTES_MAX + 1

    async def unannounced() -> Any:
        for at in range(0, len(large), 2**18):
            yield large[at : at + 2**18]

    await demand_refused(walked, [(call, {"content": large, "headers": JSON}) for call in taking_json()], 413)
    some = taking_json()[:3]
    await demand_refused(walked, [(call, {"content": unannounced(), "headers": JSON}) for call in some], 413)


@pytest.mark.parametrize("kind", ["not JSON", "no object", "of another type"])
async def test_a_body_that_is_not_what_is_taken_is_refused(walked: World, kind: str) -> None:
    match kind:
        case "not JSON":
            bodies = [(call, {"content": one, "headers": JSON}) for call in taking_json() for one in NOT_JSON]
            await demand_refused(walked, bodies, 400)
        case "no object":
            bodies = [
                (call, {"content": one, "headers": JSON}) for call in taking_json() for one in NO_OBJECT
            ]
            await demand_refused(walked, bodies, 400)
        case _:
            bodies = [
                (call, {**encoded(body(call)["json"]), "headers": {"content-type": one}})
                for call in taking_json()
                for one in OTHER_TYPES
            ]
            await demand_refused(walked, bodies, 415)


async def test_a_form_that_is_none_is_refused(walked: World) -> None:
    forms = [call for call in api_calls() if call.form]
    assert forms
    types = [one for one in (*OTHER_TYPES, "application/json") if not one.startswith("multipart/form-data;")]
    await demand_refused(
        walked,
        [(call, {"content": b"{}", "headers": {"content-type": one}}) for call in forms for one in types],
        400,
        415,
    )
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    broken = (b"", b"\0", b"--x", b"--x\r\n\r\n\r\n--x--", b"--y--\r\n", b"\xff" * 1000)
    await demand_refused(
        walked,
        [(call, {"content": one, "headers": boundary}) for call in forms for one in broken],
        400,
    )


def fits(value: Any, schema: Json) -> bool:
    """Whether the value is of one of the schema's types."""
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", int: "number", type(None): "null"}
    found: set[str] = set()
    for one in (schema, *schema.get("anyOf", ()), *schema.get("oneOf", ())):
        kind = one.get("type", [])
        found |= {kind} if isinstance(kind, str) else set(kind)
    found |= {"number"} if "integer" in found else set()
    return not found or kinds[type(value)] in found


def of_wrong_types(call: Call) -> Iterator[Any]:
    """The smallest good body with one field, each in turn, of a type that it does not have."""
    assert call.schema is not None
    good = body(call)["json"]
    for name, schema in call.schema["properties"].items():
        for value in ({"a": 1}, [[]], "text", 7, True, None):
            if not fits(value, schema):
                yield {**good, name: value}


async def test_a_field_of_the_wrong_type_is_named(walked: World) -> None:
    wanted = [(call, encoded(one)) for call in taking_json() for one in of_wrong_types(call)]
    assert len(wanted) > 3 * len(taking_json())
    await demand_refused(walked, wanted, 400)


def with_each_field(call: Call, written: str) -> Iterator[bytes]:
    """The smallest good body with one field, each in turn, written so, and with a field that nobody knows."""
    assert call.schema is not None
    good = body(call)["json"]
    for name in (*call.schema["properties"], "no_such_field"):
        rest = "".join(
            f"{json.dumps(key)}:{json.dumps(value)}," for key, value in good.items() if key != name
        )
        yield f'{{{rest}"{name}":{written}}}'.encode()


@pytest.mark.parametrize(
    "written",
    ["[" * DEEP + "]" * DEEP, '{"a":' * DEEP + "1" + "}" * DEEP, '"\\udfff\\ud800"', '{"\\ud800":1}'],
    ids=["deep lists", "deep objects", "surrogates", "surrogate as a key"],
)
async def test_json_that_nobody_can_keep_is_refused_wherever_it_stands(walked: World, written: str) -> None:
    """10 000 levels, and halves of surrogate pairs, which UTF-8 does not have."""
    wanted = [
        (call, {"content": one, "headers": JSON})
        for call in taking_json()
        for one in with_each_field(call, written)
    ]
    await demand_refused(walked, wanted, 400)


@pytest.mark.parametrize(
    "written",
    [
        '"\\u0000"',
        '{"\\u0000":"\\u0000"}',
        HUGE,
        "1e400",
        "9223372036854775808",
        '"' + "x" * 100_000 + '"',
        "[" * 400 + "]" * 400,
        '""',
        '"0001-01-01T00:00:00-14:00"',
    ],
    ids=lambda written: written[:20],
)
async def test_odd_values_do_no_harm_wherever_they_stand(walked: World, written: str) -> None:
    wanted = [
        (call, {"content": one, "headers": JSON})
        for call in taking_json()
        for one in with_each_field(call, written)
    ]
    await demand_unharmed(walked, wanted)


async def test_ids_that_cannot_be_are_not_found(walked: World) -> None:
    wanted: list[Request] = []
    for call in api_calls():
        for name in call.parameters:
            for segment in SEGMENTS:
                path = call.path.format_map({**walked.bobs, name: segment})
                wanted.append((call, {"path": path, **body(call)}))
    await demand_refused(
        walked, [one for one in wanted if one[0].path.count("{") == 1 and not _by_name(one[0])], 400, 404
    )
    await demand_unharmed(walked, [one for one in wanted if "path" in one[1]])


def _by_name(call: Call) -> bool:
    """Users are notified by names, which nobody has to have heard of."""
    return call.path.endswith("/notifications")


async def test_odd_queries_are_told_so_or_taken(walked: World) -> None:
    reading = [call for call in api_calls() if call.query]
    wanted = [
        (call, {**(body(call) if call.writes else {}), "params": {name: value}})
        for call in reading
        for name in call.query
        for value in VALUES
    ]
    await demand_unharmed(walked, wanted)
    twice = [
        (call, {"params": [(name, value) for name in call.query for value in "12"]})
        for call in reading
        if not call.writes
    ]
    await demand_unharmed(walked, twice)
    numbers = [
        (call, {"params": {name: value}})
        for call in reading
        for name, schema in call.query.items()
        if schema.get("type") in ("integer", "number")
        for value in ("x", "-1", HUGE, "nan", "a\0b")
    ]
    assert numbers
    await demand_refused(walked, numbers, 400)


async def test_odd_headers_do_no_harm(walked: World) -> None:
    reading = [call for call in calls() if call.method == "GET" and not call.path.startswith("/schema/{")]
    await demand_unharmed(walked, [(call, {"headers": one}) for call in reading for one in HEADERS])


async def test_other_methods_are_405_and_say_which_there_are(walked: World) -> None:
    taken: dict[str, set[str]] = {}
    for call in api_calls():
        taken.setdefault(call.path, {"OPTIONS"}).add(call.method)
    by_path = {call.path: call for call in api_calls()}
    with walked.nothing_stored():
        async with walked.client("root") as root:
            wanted = [(path, method) for path in taken for method in METHODS if method not in taken[path]]
            answers = await all_of(root.request(method, by_path[path].at({})) for path, method in wanted)
        for (path, method), answer in zip(wanted, answers, strict=True):
            demand_problem(answer, (405,), (method, path))
            assert set(answer.headers["allow"].replace(" ", "").split(",")) == taken[path], (method, path)


async def test_what_is_nowhere_is_404(walked: World) -> None:
    async with walked.client("root") as root:
        for path in (
            "/api/v1",
            "/api/v1/nothing",
            "/api",
            "/pages/nothing",
            "/%00",
            "/..%2f..%2fetc%2fpasswd",
        ):
            demand_problem(await root.get(path), (404,), path)


def test_samples_are_what_the_calls_take() -> None:
    """Guard: a body that is refused for another reason than the one a test means."""
    for call in taking_json():
        assert call.schema is not None
        assert fits(sample(call.schema), call.schema)
