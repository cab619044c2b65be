"""One real service with a scripted model, shared by the tests of a module; every test talks as it likes to it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.databases import TestServer
from tests.support.service import Service, running_service, script

RULES = [
    {"when": {"last_user_contains": "nothing at all"}, "answer": {"text": "   "}},
    {
        "when": {"last_user_contains": "break"},
        "answer": {"error": {"class": "bad_request", "message": "The model refused the request."}},
    },
    {
        "when": {"last_user_contains": "compute", "step": 0},
        "answer": {
            "text": "I will calculate.",
            "tool_calls": [{"name": "calculator", "arguments": {"expression": "6*7"}}],
        },
    },
    {"when": {"last_user_contains": "compute"}, "answer": {"text": "Found: {last_tool}."}},
]


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers to "hold NAME" stop in the middle until the file NAME exists in this folder."""
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def rules(gate: Path) -> list[dict[str, object]]:
    held = [
        {
            "when": {"last_user_contains": f"hold {name}"},
            "answer": {
                "text": "The beginning, and the end.",
                "chunk_chars": 5,
                "wait_for_file": str(gate / name),
                "hold_after_chunks": 3,
            },
        }
        for name in ("one", "two", "three", "four", "five", "six")
    ]
    return [*RULES, *held]


@pytest.fixture(scope="module")
def service(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory, rules: list[dict[str, object]]
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    with server.database() as dsn:
        settings = {"model": script(folder, rules), "feed_heartbeat_seconds": "1"}
        with running_service(folder, dsn, **settings) as running:
            yield running


@pytest.fixture
def here(two_nodes: tuple[Service, Service]) -> Service:
    """One of two processes on one database, where a module has the fixture `two_nodes`."""
    return two_nodes[0]


@pytest.fixture
def there(two_nodes: tuple[Service, Service]) -> Service:
    return two_nodes[1]


@pytest.fixture
async def client(service: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with service.client() as opened:
        yield opened
