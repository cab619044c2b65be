"""Migrations: from nothing, from every earlier number, twice, by two processes, and what they refuse."""

import multiprocessing
import os
import re
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import psycopg
import pytest

from app.commands.doctor import examine
from app.database import migrate as module
from app.database.migrate import Migration, MigrationError, migrate, migrations
from projections.runner import ProjectionRunner
from tests.support.databases import TestServer, at_database

NUMBERS = [migration.number for migration in migrations()]
SCHEMA = """
SELECT 'column', table_name, column_name, concat_ws(' ', data_type, is_nullable, column_default)
FROM information_schema.columns WHERE table_schema = 'public'
UNION ALL
SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass::text, tgname, concat(pg_get_triggerdef(oid), tgenabled)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'function', '', oid::regprocedure::text, pg_get_functiondef(oid)
FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL
SELECT 'table', relname, relpersistence::text, concat_ws(' ', reloptions, obj_description(oid, 'pg_class'))
FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
UNION ALL
SELECT 'grant', table_name, grantee = current_user, privilege_type
FROM information_schema.role_table_grants WHERE table_schema = 'public'
ORDER BY 1, 2, 3, 4
""".replace("grantee = current_user,", "(grantee = current_user)::text,")


def schema(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(SCHEMA).fetchall()


def with_files(monkeypatch: pytest.MonkeyPatch, known: list[Migration]) -> None:
    monkeypatch.setattr(module, "migrations", lambda: known)


def test_an_empty_database_gets_all_and_then_nothing(empty_dsn: str) -> None:
    assert migrate(empty_dsn) == [migration.name for migration in migrations()]
    assert migrate(empty_dsn) == []


@pytest.mark.parametrize("number", NUMBERS)
def test_a_database_of_any_earlier_release_becomes_the_same(empty_dsn: str, dsn: str, number: int) -> None:
    assert len(migrate(empty_dsn, upto=number)) == number
    assert len(migrate(empty_dsn)) == len(NUMBERS) - number
    ProjectionRunner(empty_dsn).run_to_end()
    assert schema(empty_dsn) == schema(dsn)


def test_a_changed_file_is_refused(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = migrations()
    with_files(monkeypatch, [Migration(first.number, first.name, first.text + "-- better"), *rest])
    with pytest.raises(MigrationError, match=r"0001_log\.sql was changed after it was applied"):
        migrate(dsn)


def test_a_schema_of_a_newer_release_is_refused(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with_files(monkeypatch, migrations()[:-1])
    with pytest.raises(
        MigrationError, match=f"has schema {len(NUMBERS)}, this release knows {len(NUMBERS) - 1}"
    ):
        migrate(dsn)


def test_the_doctor_does_not_send_a_newer_schema_to_the_migrations(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO schema_migrations VALUES (9999, '9999_later.sql', '')")
    (found,) = (one for one in examine(dsn) if one.what.startswith("schema 9999 of"))
    assert (found.ok, found.advice.startswith("run a newer release")) == (False, True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            "ALTER DATABASE {0} SET default_transaction_read_only = on",
            r"\S+ takes no writes; it is a standby",
        ),
        (
            "CREATE SCHEMA elsewhere; ALTER DATABASE {0} SET search_path = elsewhere",
            "tables in the schema elsewhere, not in public; ALTER ROLE",
        ),
        (
            "REVOKE CREATE ON DATABASE {0} FROM CURRENT_USER",
            "may not make schemas in the database .* OWNER TO",
        ),
        (
            "REVOKE CREATE ON SCHEMA public FROM pg_database_owner",
            "or tables in its schema public; .* GRANT ALL",
        ),
    ],
)
def test_what_the_role_or_the_database_lacks_is_said(empty_dsn: str, change: str, said: str) -> None:
    with psycopg.connect(empty_dsn, autocommit=True) as connection:
        for statement in change.format(connection.info.dbname).split("; "):
            connection.execute(statement)  # type: ignore[arg-type]
    with pytest.raises(MigrationError, match=said):
        migrate(empty_dsn)
    assert any(re.search(said, f"{one.what}; {one.advice}") for one in examine(empty_dsn) if not one.ok)


def test_a_database_that_cannot_hold_every_text_is_refused(server: TestServer) -> None:
    """Guard: the doctor speaks UTF-8 with it; a server without an encoding would tell texts as bytes."""
    name = f"mb_test_ascii_{os.getpid()}"
    with psycopg.connect(server.admin_dsn, autocommit=True) as admin:
        admin.execute(
            f"CREATE DATABASE {name} OWNER {server.owner} TEMPLATE template0 ENCODING SQL_ASCII LOCALE 'C'"  # type: ignore[arg-type]
        )
        try:
            dsn = at_database(server.service_dsn, name)
            with pytest.raises(MigrationError, match=r"has the encoding SQL_ASCII, .* ENCODING 'UTF8'"):
                migrate(dsn)
            assert [one.what for one in examine(dsn) if one.what.endswith("b'on'")] == []
        finally:
            server._drop(name)


def test_a_failing_migration_leaves_the_one_before(empty_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Migration(len(NUMBERS) + 1, "9999_broken.sql", "CREATE TABLE half (); SELECT 1/0")
    with monkeypatch.context() as context:
        with_files(context, [*migrations(), broken])
        with pytest.raises(psycopg.errors.DivisionByZero):
            migrate(empty_dsn)
    assert migrate(empty_dsn) == []
    with psycopg.connect(empty_dsn) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)


def test_a_gap_in_the_numbers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("0001_a.sql", "0003_c.sql", "README.md"):
        (tmp_path / name).write_text("SELECT 1")
    monkeypatch.setattr(module, "files", lambda package: tmp_path)
    with pytest.raises(MigrationError, match=r"0002 is missing or double: found 0003_c\.sql"):
        migrations()


def test_two_processes_at_once_migrate_once(empty_dsn: str) -> None:
    """Guard: the advisory lock."""
    with ProcessPoolExecutor(3, multiprocessing.get_context("spawn")) as processes:
        applied = list(processes.map(migrate, [empty_dsn] * 3, timeout=60))
    assert sorted(map(len, applied)) == [0, 0, len(NUMBERS)]
