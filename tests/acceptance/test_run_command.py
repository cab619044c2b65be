"""`minutebook run` as a person runs it: embedded Postgres, signals, mistakes in the settings."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.portal import portal
from tests.support.service import ROOT, Service, running_service, script

END_SECONDS_MAX = 30


def database_processes(service: Service) -> list[psutil.Process]:
    children = psutil.Process(service.process.pid).children(recursive=True)
    return [child for child in children if "postgres" in child.name()]


def minutebook(folder: Path, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {"MINUTEBOOK_DATA_DIR": str(folder), **{f"MINUTEBOOK_{k}": v for k, v in settings.items()}}
    command = [sys.executable, "-m", "app.cli", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)


async def test_kill_9_leaves_no_postgres_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    model = script(tmp_path, [])
    with running_service(tmp_path, fresh=True, model=model) as service:
        assert any("embedded" in line for line in service.output)
        async with portal(service) as line:
            await line.turn("remember this, please", conversation_id="kept")
        postgres = database_processes(service)
        assert postgres
        service.kill()
        _, alive = psutil.wait_procs(postgres, timeout=END_SECONDS_MAX)
        assert alive == []
    with running_service(tmp_path, fresh=True, model=model) as service:
        async with service.client() as client:
            found = (await client.get("/portal/conversations/kept")).json()
        contents = [message["content"] for message in found["messages"]]
        assert contents == ["remember this, please", "You said: remember this, please"]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_stops_everything_cleanly(
    tmp_path: Path, sent: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 0, no Postgres left, and open sockets do not hold it up."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with running_service(tmp_path, fresh=True, model=script(tmp_path, [])) as service:
        postgres = database_processes(service)
        async with portal(service) as line:
            await line.turn("something to follow", conversation_id="c")
            async with portal(service, "/api/v1/conversations/c/feed") as watcher:
                await watcher.receive()
                service.process.send_signal(sent)
                await watcher.connection.wait_closed()
                assert watcher.connection.close_code == 1012
        assert service.process.wait(END_SECONDS_MAX) == 0
        assert psutil.wait_procs(postgres, timeout=END_SECONDS_MAX)[1] == []
        assert service.output[-1] == "Minutebook has stopped.\n"


async def test_other_commands_use_the_running_services_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with running_service(tmp_path, fresh=True, model=script(tmp_path, [])) as service:
        async with portal(service) as line:
            await line.turn("hello from the socket", conversation_id="mine")
        exported = minutebook(tmp_path, "export", "mine", "--format", "openai")
        assert "hello from the socket" in exported.stdout
        doctor = minutebook(tmp_path, "doctor")
        assert doctor.returncode == 0, doctor.stdout
        assert "without gaps" in doctor.stdout


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"PORT": "eighty"}, ["'port'", "'eighty'", "8765"]),
        ({"COLOUR": "blue"}, ["unknown setting 'colour'", "locale"]),
        ({"HOST": "0.0.0.0"}, ["'host'", "API key"]),
        ({"MODEL": "oracle"}, ["oracle", "openai:"]),
        ({"API_KEYS": "[{]"}, ["api_keys", "JSON"]),
        ({"CONFIG": "/no/such/file.toml"}, ["/no/such/file.toml"]),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_an_example(
    tmp_path: Path, settings: dict[str, str], parts: list[str]
) -> None:
    ended = minutebook(tmp_path, "run", "--port", "0", **settings)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    for part in parts:
        assert part in ended.stderr


def test_a_taken_port_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = minutebook(tmp_path, "run", "--port", str(port), MODEL=script(tmp_path, []))
    assert ended.returncode == 2
    assert f"127.0.0.1:{port}" in ended.stderr
    assert not (tmp_path / "postgres").exists()
