"""Where a benchmark runs: a Postgres server and fresh databases on it, a folder, and how much is to be done."""

import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import msgspec

from app.database.embedded import EmbeddedPostgres
from app.database.migrate import migrate
from app.log.connections import connect
from app.log.log import Log, open_log

_numbers = count(1)


class Ground(msgspec.Struct, frozen=True):
    """`admin_dsn` may create databases, which then belong to the role of `service_dsn`.

    `quick`: tiny sizes that show only that everything runs. `say` tells the person what is being done.
    """

    admin_dsn: str
    service_dsn: str
    folder: Path
    rounds: int
    quick: bool = False
    say: Callable[[str], None] = lambda text: None

    @asynccontextmanager
    async def database(self) -> AsyncGenerator[str]:
        """Address of a fresh, migrated database, dropped afterwards."""
        name = f"minutebook_bench_{os.getpid()}_{next(_numbers)}"
        owner = urlsplit(self.service_dsn).username or ""
        await self._administer(f'CREATE DATABASE "{name}" OWNER "{owner}" TEMPLATE template0')
        dsn = urlunsplit(urlsplit(self.service_dsn)._replace(path=f"/{name}"))
        try:
            migrate(dsn)
            yield dsn
        finally:
            await self._administer(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    @asynccontextmanager
    async def log(self) -> AsyncGenerator[tuple[str, Log]]:
        """A fresh database, and its log, open in this process."""
        async with self.database() as dsn:
            log = await open_log(dsn, node_id="bench")
            try:
                yield dsn, log
            finally:
                await log.close()

    async def _administer(self, command: str) -> None:
        connection = await connect(self.admin_dsn, name="minutebook-bench")
        try:
            await connection.execute(command)
        finally:
            await connection.close()

    async def server_version(self) -> str:
        """For example `18.1`."""
        connection = await connect(self.admin_dsn, name="minutebook-bench")
        try:
            return str(await connection.fetchval("SHOW server_version")).split()[0]
        finally:
            await connection.close()


@contextmanager
def open_ground(rounds: int, *, quick: bool, say: Callable[[str], None]) -> Generator[Ground]:
    """On the server of `DATABASE_URL` (whose role has to be allowed to create databases), else on an embedded one."""
    with tempfile.TemporaryDirectory(prefix="minutebook-bench-") as name:
        folder = Path(name)
        if url := os.environ.get("DATABASE_URL"):
            yield Ground(url, url, folder, rounds, quick, say)
            return
        with EmbeddedPostgres(folder / "postgres") as embedded:
            yield Ground(embedded.admin_dsn, embedded.dsn, folder, rounds, quick, say)
