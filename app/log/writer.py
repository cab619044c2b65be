"""A connection of a lane, with the two statements that append."""

import msgspec

from app.log import batch as batches
from app.log.batch import Appended, Placement, Waiting
from app.log.connections import Connect, Connection, Prepared
from app.log.sql import statement


class Writer(msgspec.Struct, frozen=True):
    """Appends batches to one partition, one after the other."""

    connection: Connection
    pid: int
    partition: int
    append: Prepared
    append_guarded: Prepared

    @classmethod
    async def open(cls, connect: Connect, name: str, partition: int) -> "Writer":
        """Raises one of `GONE`."""
        connection = await connect(name)
        append = await connection.prepare(statement("append"))
        append_guarded = await connection.prepare(statement("append_guarded"))
        return cls(connection, connection.get_server_pid(), partition, append, append_guarded)

    async def write(
        self, known_position: int, appends: list[Waiting], placement: Placement
    ) -> list[Appended]:
        """Raises `asyncpg.PostgresError`, `ValueError` (nothing was written) and one of `GONE` (not known)."""
        arguments = batches.arguments(self.partition, known_position, appends, placement)
        guards = batches.guards(appends)
        if guards is None:
            row = await self.append.fetchrow(*arguments)
        else:
            row = await self.append_guarded.fetchrow(*arguments, *guards)
        if row is None:
            raise LookupError(f"the log has no partition {self.partition}; run `minutebook doctor`")
        return batches.results(appends, placement, base=row["base"], recorded_at=row["recorded_at"])
