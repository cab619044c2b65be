"""Every socket of the application, walked by people who may not be there, and with frames that it cannot use.

The sockets are those of the application's own table, and their frames those of the AsyncAPI document.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from app.api.sockets import CLOSE_UNAUTHORIZED, FRAME_BYTES_MAX
from tests.support.databases import TestServer
from tests.support.portal import Portal
from tests.support.walk import NEVER, Surface, sample, sockets
from tests.support.world import World, all_of, demand_sentence, world

DEEP = 10_000
SENTENCE_CHARS_MAX = 200
CLOSE_TOO_LARGE = 1009
SURFACES = {surface.name: surface for surface in sockets()}
EACH = pytest.mark.parametrize("surface", SURFACES.values(), ids=SURFACES)
READING = frozenset({"auth", "ping", "resume"})
"""Frames that change nothing."""
UNUSABLE: tuple[str | bytes, ...] = (
    "",
    "{",
    "nonsense",
    "null",
    "[]",
    "1",
    '"ping"',
    '{"type":null}',
    '{"type":7}',
    '{"type":["ping"]}',
    '{"type":{"a":1}}',
    '{"type":"no_such_type"}',
    '{"type":"\\u0000"}',
    '{"type":"\\ud800"}',
    '{"a":NaN}',
    '{"type":"' + "x" * 10_000 + '"}',
    "[" * DEEP + "]" * DEEP,
    '{"type":"ping","a":' + "[" * DEEP + "]" * DEEP + "}",
    "\0",
    b"\0",
    b"\xff\xfe\xfd",
    b'{"type":"no_such_type"}',
    "x" * (FRAME_BYTES_MAX + 1),
    "é" * (FRAME_BYTES_MAX // 2 + 1),
)


@pytest.fixture(scope="module")
def walked(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(server, tmp_path_factory) as made:
        yield made


@asynccontextmanager
async def opened(walked: World, path: str, secret: str | None) -> AsyncIterator[Portal]:
    headers = {} if secret is None else {"X-API-Key": secret}
    async with connect(
        walked.service.socket_url + path, additional_headers=headers, max_size=None
    ) as connection:
        yield Portal(connection, 30, path)


async def rest_of(line: Portal) -> tuple[list[dict[str, Any]], int]:
    """Whatever comes until the server closes the socket, and its code."""
    with suppress(ConnectionClosed):
        while True:
            await line.receive()
    assert line.connection.close_code is not None
    return line.frames, line.connection.close_code


async def refused_as(walked: World, path: str, who: str | None, *frames: str) -> tuple[str, int]:
    """What somebody is told who is not let in: one error, and the code of the close."""
    secret = None if who is None else walked.keys.get(who, "mb_wrong")
    async with opened(walked, path, secret) as line:
        for frame in frames:
            await line.connection.send(frame)
        told, code = await rest_of(line)
    (error,) = told
    assert error["type"] == "error", told
    demand_sentence(error["data"]["message"], path)
    return error["data"]["message"], code


async def greeted(walked: World, path: str) -> list[str]:
    """The errors that bob is told at an address, whether he is let in or not."""
    async with opened(walked, path, walked.keys["bob"]) as line:
        with suppress(ConnectionClosed):
            await line.send(type="ping")
            await line.until(lambda frame: frame["type"] == "pong")
    return [frame["data"]["message"] for frame in line.frames if frame["type"] == "error"]


async def answered(line: Portal, frame: str | bytes) -> dict[str, Any]:
    """The frame's answer, which has to be one error."""
    await line.connection.send(frame)
    await line.until(lambda frame: frame["type"] == "error")
    found = line.frames[-1]
    about = (line.path, str(frame)[:200], found)
    demand_sentence(found["data"]["message"], about)
    assert len(found["data"]["message"]) <= SENTENCE_CHARS_MAX, about
    return found


async def demand_alive(line: Portal, *, errors: int = 0) -> None:
    """It answers, and so many errors have come, not one more."""
    await line.send(type="ping")
    await line.until(lambda frame: frame["type"] == "pong")
    assert [frame["type"] for frame in line.frames].count("error") == errors


def test_the_walk_has_a_thing_for_every_parameter(walked: World) -> None:
    """Guard: a socket whose things of somebody else's nobody asks for."""
    assert {name for surface in sockets() for name in surface.parameters} <= walked.bobs.keys()


@EACH
async def test_without_a_good_key_it_is_an_error_and_4001(walked: World, surface: Surface) -> None:
    """Section 1: "A wrong or missing key: an error frame, then close code 4001"; also in the first frame, or with
    whatever else comes first."""
    path = surface.at(walked.bobs)
    wrong = [(who, ()) for who in ("wrong", "revoked", "expired")]
    first = [
        json.dumps({"type": "auth", "api_key": walked.keys.get(who, "mb_wrong")})
        for who in ("wrong", "revoked", "expired")
    ]
    first += [json.dumps(sample(schema)) for kind, schema in surface.takes.items() if kind != "auth"]
    first += ["{", "null", '{"type":"auth"}', '{"type":"auth","api_key":7}', "[" * DEEP + "]" * DEEP]
    first += [
        '{"type":"auth","api_key":"\\u0000"}',
        '{"type":"auth","token":"\\u0000.\\u0000"}',
        "x" * 100_000,
    ]
    with walked.nothing_stored():
        told = await all_of(
            refused_as(walked, path, who, *frames)
            for who, frames in (*wrong, *((None, (frame,)) for frame in first))
        )
    assert {code for _, code in told} == {CLOSE_UNAUTHORIZED}


@EACH
async def test_somebody_elses_look_as_if_they_had_never_been(walked: World, surface: Surface) -> None:
    """Section 9: "A member sees only their own"."""
    if not surface.parameters:
        return
    (name,) = surface.parameters
    his, never = (surface.at(walked.bobs), walked.bobs[name]), (surface.at({}), NEVER)
    pairs = [(his, never)]
    if "owner" in surface.query:
        pairs += [((f"{his[0]}?owner=bob", "bob"), (f"{his[0]}?owner={NEVER}", NEVER))]
    with walked.nothing_stored():
        for pair in pairs:
            told = [(await refused_as(walked, path, "ana"), id) for path, id in pair]
            shown = {(message.replace(id, "IT"), code) for (message, code), id in told}
            assert len(shown) == 1, told
    async with opened(walked, surface.at(walked.bobs), walked.keys["bob"]) as line:
        await demand_alive(line)


@EACH
async def test_ids_and_cursors_that_cannot_be_are_refused(walked: World, surface: Surface) -> None:
    segments = ("%00", "a%00b", "%ff", "a" * 2000, "%0a")
    paths = [surface.path.format_map({name: one}) for name in surface.parameters for one in segments]
    with walked.nothing_stored():
        for _, code in await all_of(refused_as(walked, path, "bob") for path in paths):
            assert code in (1008, 4004)
        values = ("%00", "-1", "9" * 400, "nonsense", "%ff")
        odd = [f"{surface.at(walked.bobs)}?{name}={value}" for name in surface.query for value in values]
        for told in await all_of(greeted(walked, path) for path in odd):
            for message in told:
                demand_sentence(message, surface.name)


@EACH
@pytest.mark.parametrize("who", ["eve", "reader"])
async def test_who_may_only_read_changes_nothing(walked: World, surface: Surface, who: str) -> None:
    """Section 9: "auditor (reads everything, changes nothing)"."""
    writing = {kind: sample(schema) for kind, schema in surface.takes.items() if kind not in READING}
    own = {**walked.bobs}
    if who == "reader":
        async with walked.client("ana") as ana:
            told = await ana.post("/api/v1/portal/chat", json={"message": "hi", "conversation_id": "of-ana"})
            opened_ = await ana.post("/api/v1/chat/sessions", json={"agent_name": "assistant"})
        own = {
            "conversation_id": "of-ana",
            "task_id": told.json()["task_id"],
            "session_id": opened_.json()["session_id"],
        }
    path = surface.at(own) + ("?owner=bob" if who == "eve" and "owner" in surface.query else "")
    with walked.nothing_stored():
        async with opened(walked, path, walked.keys[who]) as line:
            for kind, frame in writing.items():
                await line.send(**frame)
                await line.until(lambda frame: frame["type"] == "error")
                message = line.frames[-1]["data"]["message"]
                assert ("auditor" if who == "eve" else "scope") in message, (kind, message)
            await demand_alive(line, errors=len(writing))


@EACH
async def test_frames_that_cannot_be_used_get_an_error_and_do_no_harm(
    walked: World, surface: Surface
) -> None:
    """Section 1: "frames that are not JSON, or of an unknown type, are answered with an error frame and do no harm"."""
    with walked.nothing_stored():
        async with opened(walked, surface.at(walked.bobs), walked.keys["bob"]) as line:
            for frame in UNUSABLE:
                await answered(line, frame)
            await demand_alive(line, errors=len(UNUSABLE))


@EACH
async def test_fields_of_wrong_types_and_fields_that_are_missing_are_named(
    walked: World, surface: Surface
) -> None:
    frames = list(_wrong(surface))
    with walked.nothing_stored():
        async with opened(walked, surface.at(walked.bobs), walked.keys["bob"]) as line:
            for frame in frames:
                await answered(line, json.dumps(frame))
            await demand_alive(line, errors=len(frames))


def _wrong(surface: Surface) -> Iterator[dict[str, Any]]:
    for kind, schema in surface.takes.items():
        if kind == "auth":
            continue
        good = sample(schema)
        for name in set(schema.get("required", ())) - {"type"}:
            yield {key: value for key, value in good.items() if key != name}
        for name in set(schema["properties"]) - {"type"}:
            yield {**good, name: {"a": [1]}}


@EACH
async def test_a_frame_over_the_size_of_a_message_ends_the_socket_and_nothing_else(
    walked: World, surface: Surface
) -> None:
    """Beyond 2 MiB nothing is read any more."""
    with walked.nothing_stored():
        async with opened(walked, surface.at(walked.bobs), walked.keys["bob"]) as line:
            with suppress(ConnectionClosed):
                await line.connection.send("x" * (4 * 1024 * 1024))
            _, code = await rest_of(line)
            assert code == CLOSE_TOO_LARGE
        async with opened(walked, surface.at(walked.bobs), walked.keys["bob"]) as line:
            await demand_alive(line)
