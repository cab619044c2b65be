"""The application while the process is about to end, and its OpenAPI document."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from jsonschema import Draft202012Validator
from litestar import Litestar
from litestar.testing import AsyncTestClient
from psycopg import sql

from app.api.services import Services
from app.server import build_app, gateway_of, server_config
from app.settings import Settings
from tests.support.logs import until
from tests.support.service import script

METHODS = {"get", "put", "post", "delete", "patch", "head"}
LOCAL = "http://127.0.0.1"
Opened = tuple[AsyncTestClient[Any], Services]

# An application in this process: what the framework says of its next major release is no error here.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
async def opened(dsn: str, tmp_path: Path) -> AsyncIterator[Opened]:
    """The whole application in this process."""
    settings = Settings(database_url=dsn, data_dir=str(tmp_path), model=script(tmp_path, []))
    app: Litestar = build_app(settings, dsn, gateway_of(settings))
    doorway: Any = server_config(settings, app).app
    async with AsyncTestClient(app=doorway, base_url=LOCAL) as client:
        yield client, app.state.services


async def test_while_it_drains_it_says_so_and_lets_nothing_new_in(opened: Opened) -> None:
    client, services = opened
    assert (await client.get("/ready")).json()["status"] == "ok"
    services.stopping.set()
    ready = await client.get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "draining")
    assert (await client.get("/health")).status_code == 200
    assert (await client.get("/metrics")).status_code == 200
    refused = await client.post("/api/v1/portal/chat", json={"message": "too late", "conversation_id": "c"})
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert [one.appended.events for one in services.log.figures.partitions] == [0]


async def test_on_a_database_that_takes_no_writes_it_is_not_ready(opened: Opened, dsn: str) -> None:
    client, _ = opened
    with psycopg.connect(dsn, autocommit=True) as owner:
        database = sql.Identifier(owner.info.dbname)
        owner.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(database))
        owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    async def told() -> bool:
        ready = await client.get("/ready")
        return ready.status_code == 503 and "takes no writes" in ready.json()["detail"]

    await until(told)


async def test_the_openapi_document_says_of_every_route_what_it_is_and_how_it_fails(opened: Opened) -> None:
    """Guard: a route without words, an error without the one body, a reference that leads nowhere."""
    client, _ = opened
    document = (await client.get("/schema/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    operations = [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]
    assert len(operations) > 20
    for path, method, operation in operations:
        where = f"{method} {path}"
        assert operation["summary"], where
        assert operation["tags"], where
        failures = {status: one for status, one in operation["responses"].items() if status >= "400"}
        if path not in ("/health", "/ready", "/metrics"):
            assert {"401", "403", "503"} <= failures.keys(), where
            assert operation["security"][0] == {}, where
            told = [one["content"]["application/json"]["schema"] for one in failures.values()]
            assert all(one == {"$ref": "#/components/schemas/Problem"} for one in told), where
    assert document["components"]["securitySchemes"].keys() == {"key", "key_in_url", "bearer", "token_in_url"}
    assert schemas["Problem"]["required"] == ["status_code", "detail"]
