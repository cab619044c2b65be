"""What the service needs of a database and of its role there; looked at by migrations and by `minutebook doctor`."""

from collections.abc import Iterator
from typing import Any

import msgspec
import psycopg

SCHEMA = "public"
"""Where everything is."""

_LOOK = b"""
SELECT current_setting('server_encoding'),
       current_schema(),
       current_setting('transaction_read_only') = 'on',
       has_database_privilege(current_database(), 'CREATE'),
       coalesce(has_schema_privilege(to_regnamespace('public'), 'CREATE'), false),
       (SELECT pg_get_userbyid(relowner) FROM pg_class
        WHERE oid = to_regclass('public.events') AND NOT pg_has_role(relowner, 'USAGE')),
       quote_ident(current_database()),
       quote_ident(current_user)
"""


class Fault(msgspec.Struct, frozen=True):
    """Something without which the service does not work, or will not at its next release."""

    what: str
    advice: str


class _Ground(msgspec.Struct, frozen=True):
    """`other_owner`: whose the log is, where it is not this role's."""

    encoding: str
    schema: str | None
    read_only: bool
    makes_schemas: bool
    makes_tables: bool
    other_owner: str | None
    database: str
    role: str


def faults(connection: psycopg.Connection[tuple[Any, ...]]) -> Iterator[Fault]:
    """Reads only. `connection` has to speak UTF-8. Raises `psycopg.Error`."""
    ground = _Ground(*connection.execute(_LOOK).fetchone() or ())
    database, role = ground.database, ground.role
    if ground.encoding != "UTF8":
        yield Fault(
            f"the database {database} has the encoding {ground.encoding}, which does not hold every text",
            f"make another one: CREATE DATABASE … OWNER {role} ENCODING 'UTF8' TEMPLATE template0",
        )
    if ground.read_only:
        yield Fault(
            f"the database {database} takes no writes",
            "it is a standby, or default_transaction_read_only is on: check DATABASE_URL and the server",
        )
    if ground.schema != SCHEMA:
        yield Fault(
            f"the role {role} makes its tables in the schema {ground.schema}, not in {SCHEMA}",
            f"ALTER ROLE {role} IN DATABASE {database} SET search_path = {SCHEMA}",
        )
    if not (ground.makes_schemas and ground.makes_tables):
        yield Fault(
            f"the role {role} may not make schemas in the database {database}, or tables in its schema {SCHEMA}",
            f"ALTER DATABASE {database} OWNER TO {role}, and GRANT ALL ON SCHEMA {SCHEMA} TO {role}",
        )
    if ground.other_owner is not None:
        yield Fault(
            f"the log belongs to the role {ground.other_owner}, not to {role}",
            f"restore the backup once more, as {role} and with pg_restore --no-owner",
        )
