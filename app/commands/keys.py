"""`minutebook keys`: API keys, also before the service was ever started."""

import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import click
import msgspec

from app.auth import decisions
from app.auth.administration import Administration
from app.auth.decisions import (
    EXPIRY_DAYS_MAX,
    KEY_BYTES,
    NewKey,
    Refusal,
    issue_key,
    key_of,
    revoke_key,
    with_lower,
)
from app.auth.directory import ApiKey, Directory
from app.auth.principal import ID_CHARS_MAX, Role, Scope
from app.commands.administering import administer, author_option, json_option, record, show, show_json
from app.commands.database import Deployment
from app.commands.users import role_type
from app.log.ids import new_id
from projections import key_uses
from projections.reads import read_pool

COLUMNS = (
    "key_id",
    "user_id",
    "prefix",
    "name",
    "scopes",
    "service",
    "state",
    "created_at",
    "expires_at",
    "last_used_at",
)


class Line(msgspec.Struct, frozen=True):
    """A key without the key. `state`: valid, expired or revoked."""

    key_id: str
    user_id: str
    prefix: str
    name: str
    scopes: tuple[Scope, ...]
    service: bool
    state: str
    created_at: datetime
    created_by: str
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    revoked_by: str
    reason: str


class Issued(msgspec.Struct, frozen=True):
    key: str
    details: Line


@click.group("keys")
def keys_command() -> None:
    """List, create and revoke API keys."""


@keys_command.command("list")
@click.option("--user", help="Only the keys of this user.")
@click.option("--all", "with_bad", is_flag=True, help="Also those that were revoked or have expired.")
@json_option
@click.pass_obj
def list_keys(deployment: Deployment, user: str | None, with_bad: bool, as_json: bool) -> None:
    """Show API keys, oldest first. Of the keys themselves only the first characters are known."""

    async def read(administration: Administration) -> list[Line]:
        directory = await administration.read()
        keys = directory.keys if user is None else directory.keys_of(user)
        async with read_pool(deployment.dsn()) as pool:
            used = await key_uses.last_used(pool, [key.key_id for key in keys])
        lines = [_line(key, used.get(key.key_id)) for key in keys]
        return [line for line in lines if with_bad or line.state == "valid"]

    show(administer(deployment, read), COLUMNS, as_json=as_json)


@keys_command.command("create")
@click.argument("user_id", metavar="USER")
@click.option("--role", type=role_type, help="Add the user with this role if there is none yet.")
@click.option("--name", default="", help="For people, such as the machine that it is for.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice(["read", "write", "admin"]),
    multiple=True,
    help="What it may do; each includes those before it. Without it: all that the role has.",
)
@click.option("--service", is_flag=True, help="A program's key: quotas do not bind it.")
@click.option(
    "--days", type=click.FloatRange(min=0, max=EXPIRY_DAYS_MAX, min_open=True), help="It expires then."
)
@author_option
@json_option
@click.pass_obj
def create_key(
    deployment: Deployment,
    user_id: str,
    role: Role | None,
    name: str,
    scopes: Sequence[Scope],
    service: bool,
    days: float | None,
    author: str,
    as_json: bool,
) -> None:
    """Issue an API key to USER and print it. It is shown this once: only its digest is kept.

    The first key ends the development mode, in which the service asks for none.
    """
    now = datetime.now(UTC)
    new = NewKey(
        str(new_id()),
        key_of(secrets.token_bytes(KEY_BYTES)),
        user_id,
        name,
        with_lower(scopes),
        service,
        None if days is None else now + timedelta(days=days),
    )

    async def create(administration: Administration) -> Directory:
        if (await administration.read()).user(user_id) is None:
            if role is None:
                raise Refusal("user_unknown_of_new_key", 404, id=user_id[:ID_CHARS_MAX])
            added: Role = role
            await administration.change(
                lambda directory: decisions.add_user(directory, user_id, added), author
            )
        return await administration.change(lambda directory: issue_key(directory, new, now), author)

    directory = administer(deployment, create)
    line = _line(_known(directory, new.key_id), None)
    if as_json:
        show_json(Issued(new.secret, line))
        return
    owner = decisions.known_user(directory, user_id)
    click.echo(
        f"Key {line.key_id} of {user_id} ({owner.role}), scopes {', '.join(line.scopes)}. "
        "Keep it: it is shown this once.",
        err=True,
    )
    click.echo(new.secret)


@keys_command.command("revoke")
@click.argument("key_id", metavar="KEY_ID")
@click.option("--reason", default="", help="For the record.")
@author_option
@json_option
@click.pass_obj
def revoke_command(deployment: Deployment, key_id: str, reason: str, author: str, as_json: bool) -> None:
    """Refuse the key KEY_ID from now on. Its open sockets are closed, on every node."""
    revoked = record(deployment, lambda directory: revoke_key(directory, key_id, reason), author)
    line = _line(_known(revoked, key_id), None)
    show([line], ("key_id", "user_id", "prefix", "state", "revoked_at", "reason"), as_json=as_json)


def _known(directory: Directory, key_id: str) -> ApiKey:
    key = directory.key(key_id)
    assert key is not None  # noqa: S101 (a decision has found or made it)
    return key


def _line(key: ApiKey, last_used_at: datetime | None) -> Line:
    ended = "expired" if key.revoked_at is None else "revoked"
    state = "valid" if key.is_good(datetime.now(UTC)) else ended
    return Line(
        key.key_id,
        key.user_id,
        key.prefix,
        key.name,
        key.scopes,
        key.service,
        state,
        key.created_at,
        key.created_by,
        key.expires_at,
        last_used_at,
        key.revoked_at,
        key.revoked_by,
        key.reason,
    )
