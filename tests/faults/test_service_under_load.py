"""The whole service under load: SIGKILL, and its Postgres restarted. What a client was told is in the log, once.

Guards: the acknowledgement comes after the commit (`app/log/append.py`), and an append whose connection broke is looked
for before it is written again (`find_written`).
"""

import asyncio
from pathlib import Path

import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

from app.commands.doctor import examine
from app.database.embedded import EmbeddedPostgres
from app.database.migrate import migrate
from tests.support.portal import Portal, portal
from tests.support.service import Service, running_service, script

CLIENTS = 6
TURNS_BEFORE_FAULT = 24
LEASE_SECONDS = "2"
"""So long the runs of a killed process are left alone."""


class Load:
    """Clients that chat as fast as they can. `told` are the messages whose result reached the client."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.enough = asyncio.Event()
        self.stopping = False

    async def client(self, service: Service, number: int) -> None:
        turn = 0
        while not self.stopping:
            try:
                async with portal(service) as line:
                    while not self.stopping:
                        turn += 1
                        await self._turn(line, f"client {number} turn {turn}", f"load {number}")
            except (ConnectionClosed, OSError, TimeoutError, EOFError):
                if service.process.poll() is not None:
                    return  # killed: this client's work is done

    async def _turn(self, line: Portal, message: str, conversation_id: str) -> None:
        frames = await line.turn(message, conversation_id=conversation_id)
        if frames[-1]["type"] == "result":
            self.told.append(message)
            if len(self.told) >= TURNS_BEFORE_FAULT:
                self.enough.set()


def check(dsn: str, told: list[str]) -> None:
    """Every message whose result a client saw is there exactly once with its answer; the log is whole."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT payload->>'content', count(*) FROM events WHERE type = 'message.received' GROUP BY 1"
        ).fetchall()
        answers = connection.execute(
            "SELECT payload->>'content' FROM events WHERE type = 'message.answered'"
        ).fetchall()
    received = dict(rows)
    answered = [content for (content,) in answers]
    for message in told:
        assert received.get(message) == 1, message
        assert answered.count(f"You said: {message}") == 1, message
    assert max(received.values()) == 1
    wrong = [finding.what for finding in examine(dsn) if not finding.ok and "fsync" not in finding.what]
    assert [what for what in wrong if "full_page_writes" not in what] == []


@pytest.mark.timeout(300)
async def test_kill_9_of_the_service(dsn: str, tmp_path: Path) -> None:
    load = Load()
    settings = {"model": script(tmp_path, []), "lease_seconds": LEASE_SECONDS}
    with running_service(tmp_path, dsn, **settings) as service:
        clients = [asyncio.create_task(load.client(service, number)) for number in range(CLIENTS)]
        await asyncio.wait_for(load.enough.wait(), 120)
        service.kill()
        load.stopping = True
        await asyncio.wait_for(asyncio.gather(*clients), 60)
    check(dsn, load.told)
    with running_service(tmp_path, dsn, **settings) as service:  # and it goes on
        async with portal(service) as line:
            frames = await line.turn("after the kill", conversation_id="load 0")
        assert frames[-1]["type"] == "result"
        check(dsn, [*load.told, "after the kill"])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_restart_of_postgres(tmp_path: Path, mode: str) -> None:
    """The service recovers by itself; a client sees at most an error frame, never a lost or doubled message."""
    load = Load()
    with EmbeddedPostgres(tmp_path / "postgres", fsync=False) as postgres:
        migrate(postgres.dsn)
        with running_service(tmp_path, postgres.dsn, model=script(tmp_path, [])) as service:
            clients = [asyncio.create_task(load.client(service, number)) for number in range(CLIENTS)]
            await asyncio.wait_for(load.enough.wait(), 120)
            load.enough.clear()
            before = len(load.told)
            await asyncio.to_thread(postgres.restart, mode)  # type: ignore[arg-type]
            while len(load.told) < before + TURNS_BEFORE_FAULT:  # it serves again
                load.enough.clear()
                await asyncio.wait_for(load.enough.wait(), 60)
            load.stopping = True
            await asyncio.wait_for(asyncio.gather(*clients), 60)
            assert service.process.poll() is None
            assert service.stop() == 0
        check(postgres.dsn, load.told)
