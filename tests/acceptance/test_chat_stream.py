"""Contract section 1, `POST /portal/chat/stream`: the events of runs that ask people, and of messages they hear."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.test_portal_stream import events_of
from tests.support.chat import ASKING
from tests.support.databases import TestServer
from tests.support.service import Service, running_service, script


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("stream")
    settings = {"model": script(folder, ASKING), "busy": "steer"}
    with server.database() as dsn, running_service(folder, dsn, **settings) as running:
        yield running


async def test_what_a_run_asks_is_an_event_of_its_own(service: Service) -> None:
    """`ask_human`, answered over REST, then `human_answered`; a message that is heard meanwhile ends as `steered`."""
    body = {"message": "ask me", "conversation_id": "asked"}
    path = "/portal/chat/stream"
    names: list[str] = []
    steered: list[dict[str, Any]] = []
    task_id = ""
    async with asyncio.timeout(60), service.client() as client:
        async with client.stream("POST", path, json=body) as response:
            async for event in events_of(response):
                names.append(event["event"])
                if event["event"] != "ask_human":
                    continue
                assert event["id"]
                question = event["data"]["data"]
                task_id = question["request_id"][:36]
                heard = {"message": "and make it blue", "conversation_id": "asked"}
                async with client.stream("POST", path, json=heard) as second:
                    others = events_of(second)
                    assert (await anext(others))["event"] == "routing"
                    answer = {"request_id": question["request_id"], "content": "Red"}
                    replied = await client.post(f"/tasks/{task_id}/reply", json=answer)
                    assert replied.status_code == 200
                    steered = [other async for other in others]
        wanted = [name for name in names if name != "token"]
    assert [event["event"] for event in steered] == ["steered"]
    assert steered[0]["data"]["data"]["merged_into"] == task_id
    assert wanted == [
        "routing",
        "thinking",
        "tool_call",
        "ask_human",
        "human_answered",
        "tool_result",
        "steered",
        "final_answer",
    ]
