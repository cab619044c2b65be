"""Contract section 9: "Without any key configured the server is in development mode, says so in its log and binds
loopback only" - until the first key is issued, which ends it for good."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.portal import portal
from tests.support.service import ROOT, Service, running_service, script


def minutebook(folder: Path, dsn: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATABASE_URL": dsn, "MINUTEBOOK_DATA_DIR": str(folder)}
    environment |= {f"MINUTEBOOK_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


def says(service: Service, text: str) -> bool:
    return any(text in line for line in service.output)


async def refused(client: httpx.AsyncClient, path: str, body: dict[str, object]) -> str:
    answer = await client.post(path, json=body)
    assert answer.status_code == 409, answer.text
    return answer.json()["detail"]


async def test_the_first_key_ends_the_development_mode_while_the_server_runs(
    tmp_path: Path, dsn: str
) -> None:
    """A key that could not administer is refused as the first one; open sockets are closed with 4001."""
    with running_service(tmp_path, dsn, model=script(tmp_path, [])) as service:
        assert says(service, "access       development mode")
        assert says(service, '"development_mode"')
        async with service.client() as client, portal(service) as line:
            assert (await line.turn("hello without a key"))[-1]["type"] == "result"
            assert (await client.get("/portal/conversations")).status_code == 200
            for user_id, role in (("root", "admin"), ("ana", "member")):
                added = await client.post("/admin/users", json={"user_id": user_id, "role": role})
                assert added.status_code == 201
            assert "development mode" in await refused(client, "/admin/keys", {"user_id": "ana"})
            reader = {"user_id": "root", "scopes": ["read"]}
            assert "development mode" in await refused(client, "/admin/keys", reader)
            made = await client.post("/admin/keys", json={"user_id": "root"})
            assert made.status_code == 201
            assert (await client.get("/portal/conversations")).status_code == 401
            with pytest.raises(ConnectionClosed):
                await line.until(lambda frame: frame["type"] == "pong")
            assert line.connection.close_code == 4001
            root = {"X-API-Key": made.json()["key"]}
            last = await client.patch("/admin/users/root", json={"disabled": True}, headers=root)
            assert last.status_code == 409
            key_id = made.json()["details"]["key_id"]
            assert (await client.delete(f"/admin/keys/{key_id}", headers=root)).status_code == 200
            assert (await client.get("/portal/conversations", headers=root)).status_code == 401
            assert (await client.get("/portal/conversations")).status_code == 401, "it does not come back"


async def test_a_key_made_before_the_first_start_opens_other_addresses(tmp_path: Path, dsn: str) -> None:
    model = script(tmp_path, [])
    alone = minutebook(tmp_path, dsn, "run", "--port", "0", "--host", "0.0.0.0", model=model)
    assert alone.returncode == 2
    assert "loopback" in alone.stderr
    assert "minutebook keys create" in alone.stderr
    made = minutebook(tmp_path, dsn, "keys", "create", "root", "--role", "admin")
    assert made.returncode == 0, made.stderr
    secret = made.stdout.strip()
    with running_service(tmp_path, dsn, model=model, host="0.0.0.0") as service:
        assert not says(service, "development mode")
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{service.port}/api/v1") as client:
            assert (await client.get("/portal/conversations")).status_code == 401
            allowed = await client.get("/portal/conversations", headers={"X-API-Key": secret})
            assert allowed.status_code == 200
    assert secret not in "".join(service.output)
