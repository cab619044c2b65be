"""`minutebook doctor`: is the log whole, guarded, and does this installation work."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import click
import msgspec
import psycopg

from app.database.ground import SCHEMA, faults
from app.database.migrate import migrations

Connection = psycopg.Connection[tuple[Any, ...]]
POSTGRES_OLDEST, POSTGRES_NEWEST = 15, 18


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at. `advice` says what to do where it is not `ok`. A `warning` is of something that
    works, but hardly as it was meant."""

    ok: bool
    what: str
    advice: str = ""
    warning: bool = False


def _server(connection: Connection) -> Iterator[Finding]:
    version = connection.info.server_version // 10_000
    yield Finding(
        version >= POSTGRES_OLDEST,
        f"Postgres {version}",
        f"Minutebook is tested with Postgres {POSTGRES_OLDEST}-{POSTGRES_NEWEST}; upgrade the server",
    )
    for name, needed in (("fsync", "on"), ("synchronous_commit", "on"), ("full_page_writes", "on")):
        value = str(_one(connection, "SELECT current_setting(%s)", name))
        yield Finding(
            value == needed or (name == "synchronous_commit" and value in ("remote_apply", "remote_write")),
            f"{name} is {value}",
            f"set {name} to {needed}, or a crash can lose acknowledged events",
        )


def _ground(connection: Connection) -> Iterator[Finding]:
    found = [Finding(False, fault.what, fault.advice) for fault in faults(connection)]
    yield from found or [
        Finding(True, f"this role may do in the database and its schema {SCHEMA} what it has to")
    ]


def _schema(connection: Connection) -> Iterator[Finding]:
    found = _one(connection, "SELECT coalesce(max(number), 0) FROM schema_migrations")
    newest = len(migrations())
    advice = (
        "run `minutebook migrate`"
        if found < newest
        else "run a newer release: this one does not know that schema"
    )
    yield Finding(found == newest, f"schema {found} of {newest}", advice)


def _guards(connection: Connection) -> Iterator[Finding]:
    rights = _one(
        connection,
        "SELECT concat_ws(', ', CASE WHEN has_table_privilege('events', 'UPDATE') THEN 'UPDATE' END,"
        " CASE WHEN has_table_privilege('events', 'DELETE') THEN 'DELETE' END,"
        " CASE WHEN has_table_privilege('events', 'TRUNCATE') THEN 'TRUNCATE' END)",
    )
    superuser = _one(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    yield Finding(
        not rights and not superuser,
        f"this role may {rights or 'only add'} to the log{' (it is a superuser)' if superuser else ''}",
        "let the service log in as an ordinary role that owns the database, and REVOKE UPDATE, DELETE, TRUNCATE",
    )
    enabled = _one(
        connection, "SELECT count(*) FROM pg_trigger WHERE tgname = 'events_append_only' AND tgenabled = 'A'"
    )
    yield Finding(
        enabled == 1, "the append-only trigger is in place", "restore the trigger of migrations/0001_log.sql"
    )


def _offsets(connection: Connection) -> Iterator[Finding]:
    """Counters and offsets against the events themselves: any gap shows here; a double the indexes refuse."""
    events, position = connection.execute(
        "SELECT (SELECT count(*) FROM events), (SELECT coalesce(sum(position), 0) FROM partitions)"
    ).fetchone() or (0, 0)
    yield Finding(
        events == position,
        f"{events} events, positions 1 to {position}",
        "positions have gaps: restore a backup",
    )
    bad = connection.execute(
        "SELECT s.name, count(*), max(e.stream_offset) FROM events e JOIN streams s ON s.id = e.stream_id"
        " GROUP BY s.id HAVING count(*) <> max(e.stream_offset) OR min(e.stream_offset) <> 1 LIMIT 5"
    ).fetchall()
    streams = _one(connection, "SELECT count(*) FROM streams")
    names = ", ".join(f"{name} ({count} events up to {last})" for name, count, last in bad)
    yield Finding(
        not bad,
        f"{streams} streams without gaps" if not bad else f"streams with gaps: {names}",
        "restore a backup",
    )


def _views(connection: Connection) -> Iterator[Finding]:
    rows = connection.execute(
        "SELECT c.name, sum(p.position - c.position)::bigint FROM projection_checkpoints c "
        "JOIN partitions p USING (partition) GROUP BY c.name ORDER BY c.name"
    ).fetchall()
    for name, behind in rows:
        yield Finding(
            behind < 10_000,
            f"view {name} is {behind} events behind",
            "start the service; it catches up by itself",
        )


def _one(connection: Connection, query: str, *parameters: object) -> Any:
    row = connection.execute(query, parameters).fetchone()  # pyright: ignore[reportArgumentType, reportCallIssue]
    return row[0] if row else None


CHECKS: tuple[Callable[[Connection], Iterator[Finding]], ...] = (
    _server,
    _ground,
    _schema,
    _guards,
    _offsets,
    _views,
)


def examine(dsn: str) -> Iterator[Finding]:
    """Every finding, in order. A check that cannot be made is a finding too. Reads only; scans the whole log."""
    try:
        connection = psycopg.connect(
            dsn,
            autocommit=True,
            client_encoding="utf8",
            connect_timeout=5,
            application_name="minutebook-doctor",
        )
    except psycopg.OperationalError as error:
        yield Finding(
            False,
            f"the database cannot be reached: {str(error).strip()}",
            "check DATABASE_URL and the server",
        )
        return
    with connection:
        for check in CHECKS:
            try:
                yield from check(connection)
            except psycopg.Error as error:
                name = check.__name__.strip("_")
                yield Finding(
                    False,
                    f"{name} could not be checked: {str(error).splitlines()[0]}",
                    "run `minutebook migrate`"
                    if isinstance(error, psycopg.errors.UndefinedTable)
                    else "see the lines before",
                )


def configured(notices: Iterable[str]) -> Iterator[Finding]:
    """What the settings name in vain, each in a sentence."""
    found = False
    for notice in notices:
        found = True
        yield Finding(False, notice, "correct the setting; until then it is done without", warning=True)
    if not found:
        yield Finding(True, "the experts and tools that the settings name are there")


def print_findings(findings: Iterable[Finding]) -> bool:
    """A line each; true if nothing is wrong, warnings aside."""
    well = True
    for finding in findings:
        click.echo(f"{_mark(finding)}  {finding.what}" + ("" if finding.ok else f"\n     → {finding.advice}"))
        well &= finding.ok or finding.warning
    return well


def _mark(finding: Finding) -> str:
    if finding.ok:
        return click.style("ok ", fg="green")
    return click.style("warning", fg="yellow") if finding.warning else click.style("BAD", fg="red")
