"""The AsyncAPI document: complete, well-formed, served, and true of the frames that are sent.

That frames look as it says is held in all tests over sockets (`tests/support/portal.py`); here is what is not in those.
"""

import re
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator
from litestar.routes import WebSocketRoute

from app.api import chat_socket, evolution_socket, feed_socket, portal_socket, task_socket
from app.api.asyncapi import SURFACES, document
from app.api.chat_wire import AS_FRAMES
from app.api.meeting_frames import MEETING_DATA
from app.api.meeting_wire import FRAMES
from app.composition.web import application
from app.settings import Settings
from tests.acceptance.contract.code import sent_by
from tests.support.portal import portal
from tests.support.service import Service

DOCUMENT = document()
EVERYWHERE = {"error", "pong"}
SENT = {
    "portal": sent_by("portal_socket", "portal_wire", "push") | FRAMES | EVERYWHERE,
    "chat": sent_by("chat_socket", "chat_wire", "push") | AS_FRAMES | FRAMES | EVERYWHERE,
    "task": sent_by("task_socket") | EVERYWHERE,
    "feed": sent_by("feed_socket") | {"events", "delta", "heartbeat"} | EVERYWHERE,
    "evolution": sent_by("evolution_socket") | EVERYWHERE,
}
"""What the code of each socket sends, read from the code."""

TAKEN = {
    "portal": portal_socket.KINDS,
    "chat": chat_socket.KINDS,
    "task": task_socket.KINDS,
    "feed": feed_socket.KINDS,
    "evolution": evolution_socket.KINDS,
}


def messages(action: str, surface: str) -> set[str]:
    """The types of frames of an operation."""
    refs = DOCUMENT["operations"][f"{surface}.{action}"]["messages"]
    return {resolved(ref)["title"] for ref in refs}


def resolved(ref: dict[str, str]) -> Any:
    """What a reference leads to, over as many steps as it takes."""
    found: Any = DOCUMENT
    for part in ref["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return resolved(found) if "$ref" in found else found


def references(value: Any) -> list[dict[str, str]]:
    match value:
        case {"$ref": str()}:
            return [value]
        case dict():
            return [one for part in value.values() for one in references(part)]
        case list():
            return [one for part in value for one in references(part)]
        case _:
            return []


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the framework, for its next major release
def test_every_socket_of_the_application_is_a_channel() -> None:
    """Guard: a socket that nobody has described."""
    app = application(Settings(), lambda: None)  # type: ignore[arg-type,return-value]
    there = {re.sub(r":\w+\}", "}", route.path) for route in app.routes if isinstance(route, WebSocketRoute)}
    assert there == {channel["address"] for channel in DOCUMENT["channels"].values()}


@pytest.mark.parametrize("surface", [surface.name for surface in SURFACES])
def test_every_frame_that_is_taken_or_sent_is_in_it(surface: str) -> None:
    """Guard: a frame that nobody has described, and one that is described but never sent."""
    assert messages("take", surface) == {"auth", *TAKEN[surface]}
    assert messages("send", surface) == SENT[surface]


def test_every_frame_of_boards_and_teams_is_described() -> None:
    assert MEETING_DATA.keys() == FRAMES


def test_it_has_the_form_of_asyncapi_3() -> None:
    """AsyncAPI 3.0.0: the fields that it demands, keys as it allows them, references that lead somewhere."""
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    key = re.compile(r"^[\w.\-]+$")
    for part in ("messages", "schemas", "securitySchemes"):
        assert all(key.match(name) for name in DOCUMENT["components"][part])
    for channel in DOCUMENT["channels"].values():
        named = set(re.findall(r"\{(\w+)\}", channel["address"]))
        assert named == channel.get("parameters", {}).keys()
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in ("send", "receive")
        channel = resolved(operation["channel"])
        assert channel["address"].startswith("/api/v1/")
        known = {f"{operation['channel']['$ref']}/messages/{name}" for name in channel["messages"]}
        assert {ref["$ref"] for ref in operation["messages"]} <= known
    assert all(resolved(ref) for ref in references(DOCUMENT))
    for message in DOCUMENT["components"]["messages"].values():
        Draft202012Validator.check_schema(message["payload"])
        assert message["payload"]["properties"]["type"] == {"const": message["title"]}
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


async def test_it_is_served_and_linked_from_the_start_page(
    service: Service, client: httpx.AsyncClient
) -> None:
    served = await client.get(service.url + "/schema/asyncapi.json")
    assert served.json() == DOCUMENT
    as_yaml = await client.get(service.url + "/schema/asyncapi.yaml")
    assert yaml.safe_load(as_yaml.text) == DOCUMENT
    page = (await client.get(service.url)).text
    for link in ("/schema", "/schema/openapi.json", "/schema/asyncapi.json"):
        assert f'href="{link}"' in page
        assert (await client.get(service.url + link)).status_code == 200


async def test_the_frames_of_a_feed_look_as_it_says(service: Service, gate: Path) -> None:
    """`resumed`, `events`, `delta`, `heartbeat`, `pong` and `error`."""
    async with portal(service) as line:
        await line.turn("please compute it", conversation_id="described")
        path = "/api/v1/conversations/described/feed?after=0&batch=3"
        async with portal(service, path) as feed:
            await feed.send(type="ping")
            await feed.send(type="nonsense")
            await line.send(type="chat", message="hold one", conversation_id="described")
            wanted = {"resumed", "events", "delta", "heartbeat", "pong", "error"}
            await feed.until(lambda frame: wanted <= {one["type"] for one in feed.frames})
            (gate / "one").touch()
