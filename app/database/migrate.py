"""Runs `migrations/*.sql` in the order of their numbers, once each, forward only, under an advisory lock."""

import hashlib
import re
from importlib.resources import files

import msgspec
import psycopg
from psycopg import sql

from app.database.ground import faults

ADVISORY_LOCK = 0x6D696E7574  # "minut"
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

_HISTORY = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    digest text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

# A migration that cannot get its lock must not stop everybody else for long.
_LIMITS = "SET LOCAL lock_timeout = '30s'; SET LOCAL statement_timeout = '10min'"


class MigrationError(Exception):
    """The database cannot be brought to this release's schema; the message says why and what to do."""


class Migration(msgspec.Struct, frozen=True):
    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All of them, in order. Raises `MigrationError` for a gap or a double number."""
    found = sorted(
        (
            Migration(int(match[1]), match[0], entry.read_text(encoding="utf-8"))
            for entry in files("migrations").iterdir()
            if (match := _NAME.fullmatch(entry.name))
        ),
        key=lambda migration: migration.number,
    )
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise MigrationError(f"migration {expected:04} is missing or double: found {migration.name}")
    return found


def migrate(dsn: str, *, upto: int | None = None) -> list[str]:
    """Bring the database to the newest schema (or to number `upto`); returns the names of what was applied.

    Each file is one transaction. Several processes at once are fine: one migrates, the others wait for it. Raises
    `MigrationError` for a database or a role that will not do, a schema newer than this release or a file changed after
    it was applied, and `psycopg.Error`.
    """
    applied: list[str] = []
    with psycopg.connect(
        dsn, autocommit=True, client_encoding="utf8", application_name="minutebook-migrate"
    ) as connection:
        for fault in faults(connection):
            raise MigrationError(f"{fault.what}; {fault.advice}")
        connection.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        try:
            connection.execute(_HISTORY)
            rows = connection.execute("SELECT number, digest FROM schema_migrations").fetchall()
            done: dict[int, str] = dict(rows)
            known = migrations()
            if done and max(done) > len(known):
                raise MigrationError(
                    f"the database has schema {max(done)}, this release knows {len(known)}; run a newer release"
                )
            for migration in known[: upto if upto is not None else len(known)]:
                if migration.number in done:
                    _check_unchanged(migration, done[migration.number])
                    continue
                with connection.transaction():
                    connection.execute(_LIMITS)
                    connection.execute(sql.SQL(migration.text))  # pyright: ignore[reportArgumentType]
                    connection.execute(
                        "INSERT INTO schema_migrations (number, name, digest) VALUES (%s, %s, %s)",
                        (migration.number, migration.name, migration.digest),
                    )
                applied.append(migration.name)
        finally:
            connection.execute("SELECT pg_advisory_unlock(%s)", (ADVISORY_LOCK,))
    return applied


def _check_unchanged(migration: Migration, digest: str) -> None:
    if migration.digest != digest:
        raise MigrationError(
            f"{migration.name} was changed after it was applied to this database; "
            "restore the file and put the change into a new migration"
        )
