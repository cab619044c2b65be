"""A Postgres server for the tests, and a fresh database of it for each test.

Which server: `DATABASE_URL` (its role has to be allowed to create databases), else a container where an
engine answers, else the embedded one. A database is a clone of a template that was migrated once.
"""

import os
import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
import psycopg
from psycopg import sql

from app.database.embedded import EmbeddedPostgres
from app.database.migrate import migrate
from projections.runner import ProjectionRunner

CONTAINER_IMAGE = "postgres:17-alpine"
OWNER = "minutebook_test"


def at_database(dsn: str, database: str) -> str:
    """The same address with another database."""
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{quote(database)}"))


def as_role(dsn: str, role: str, password: str) -> str:
    """The same address with another role."""
    parts = urlsplit(dsn)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}:{quote(password)}@{address}"))


class TestServer(msgspec.Struct):
    """A running server. `admin_dsn` may create databases, `service_dsn` is an ordinary role's. `admin` stays open: to
    connect twice takes as long as to make and drop a database."""

    __test__ = False

    admin_dsn: str
    service_dsn: str
    superuser: bool
    admin: psycopg.Connection
    template: str = ""
    numbers: Iterator[int] = msgspec.field(default_factory=lambda: count(1))

    @property
    def owner(self) -> str:
        return urlsplit(self.service_dsn).username or ""

    @contextmanager
    def database(self, *, template: str | None = None) -> Generator[str]:
        """A database, dropped afterwards: migrated, with its views, or empty where `template` is "template0"."""
        name = f"mb_test_{os.getpid()}_{next(self.numbers)}"
        self._create(name, self.template if template is None else template)
        try:
            yield at_database(self.service_dsn, name)
        finally:
            self._drop(name)

    @contextmanager
    def migrated_template(self) -> Generator[None]:
        """Make the template that `database` clones; call once a session."""
        self.template = f"mb_template_{os.getpid()}_{secrets.token_hex(3)}"
        self._create(self.template, "template0")
        try:
            migrate(template := at_database(self.service_dsn, self.template))
            ProjectionRunner(template).run_to_end()
            yield
        finally:
            self._drop(self.template)

    def _create(self, name: str, template: str) -> None:
        self.admin.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(self.owner), sql.Identifier(template)
            )
        )

    def _drop(self, name: str) -> None:
        drop = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
        try:
            self.admin.execute(drop + sql.SQL(" WITH (FORCE)"))
        except psycopg.errors.InsufficientPrivilege:
            # Autovacuum is in there: of an ordinary role Postgres 15 takes no force then, but it ends it without.
            self.admin.execute(drop)


@contextmanager
def running_server(folder: Path) -> Generator[TestServer]:
    """The server that all tests of a session share; an embedded one keeps its data in `folder`."""
    with _address(folder) as admin_dsn, _with_owner(admin_dsn) as server, server.migrated_template():
        yield server


@contextmanager
def _address(folder: Path) -> Generator[str]:
    if url := os.environ.get("DATABASE_URL"):
        yield url
        return
    container = _container()
    if container is None:
        with EmbeddedPostgres(folder, fsync=False) as embedded:
            yield embedded.admin_dsn
        return
    with container as started:
        yield started.get_connection_url()


def _container():
    try:
        from testcontainers.community.postgres import PostgresContainer
    except ImportError:  # its place before testcontainers 4.13
        try:
            from testcontainers.postgres import PostgresContainer
        except ImportError:
            return None
    with suppress(Exception):  # DockerException: no engine answers
        return PostgresContainer(CONTAINER_IMAGE, driver=None)
    return None


@contextmanager
def _with_owner(admin_dsn: str) -> Generator[TestServer]:
    """A superuser passes over the grants that are under test, so an ordinary role owns the databases then."""
    with psycopg.connect(admin_dsn, autocommit=True) as admin:
        row = admin.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user").fetchone()
        if row is None or not row[0]:
            yield TestServer(admin_dsn, admin_dsn, superuser=False, admin=admin)
            return
        name, password = f"{OWNER}_{os.getpid()}", secrets.token_urlsafe(16)
        role = sql.Identifier(name)
        if admin.info.server_version >= 160_000:  # a password that is as long as this one needs no stretching
            admin.execute("SET scram_iterations = 1")
        admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, password))
        try:
            yield TestServer(admin_dsn, as_role(admin_dsn, name, password), superuser=True, admin=admin)
        finally:
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))
