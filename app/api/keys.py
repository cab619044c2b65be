"""API keys: one's own, and for admins everybody's."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated

from litestar import Response, Router, delete, get, post
from litestar.params import Parameter

from app.api import admin_wire as wire
from app.api.admin_wire import IssuedKey, KeyBody, Keys, OwnKeyBody, ShownKey
from app.api.problems import problems
from app.api.security import ADMINISTRATION
from app.api.services import Services
from app.auth.decisions import (
    KEY_BYTES,
    NAME_CHARS_MAX,
    Decision,
    NewKey,
    Refusal,
    first_key_is_admins,
    issue_key,
    key_of,
    revoke_key,
    with_lower,
)
from app.auth.directory import ApiKey, Directory
from app.auth.principal import Principal, Scope, within_role
from app.core.envelope import user_actor
from app.log.ids import new_id
from projections import key_uses

PageSize = Annotated[int, Parameter(ge=1, le=wire.LIST_MAX)]
Reason = Annotated[str, Parameter(max_length=NAME_CHARS_MAX)]


@get("/", summary="One's own API keys, newest first")
async def list_own_keys(
    services: Services, principal: Principal, limit: PageSize = wire.LIST_DEFAULT, cursor: str | None = None
) -> Keys:
    directory = await services.administration.read()
    return await _page(services, directory.keys_of(principal.user_id), limit, cursor)


@post("/", responses=problems(409), summary="Issue an API key to oneself; it is shown this once")
async def issue_own_key(services: Services, principal: Principal, data: OwnKeyBody) -> Response[IssuedKey]:
    """Never with more rights than the credential that is used. Whoever no admin has added gets 409."""
    new = _new_key(principal.user_id, data.name, _own_scopes(principal, data.scopes), data.expires_at)

    def decide(directory: Directory) -> Decision:
        if directory.user(principal.user_id) is None:
            raise Refusal("no_user_of_key", 409, id=principal.user_id)
        return issue_key(directory, new, datetime.now(UTC))

    return await _issue(services, principal, new, decide)


@delete("/{key_id:str}", status_code=200, summary="Revoke one of one's own API keys")
async def revoke_own_key(
    services: Services, principal: Principal, key_id: str, reason: Reason = ""
) -> ShownKey:
    """At once, on every node, with its open sockets. 404 for somebody else's key."""
    return await _revoke(services, principal, key_id, reason, of=principal.user_id)


@get("/", summary="Everybody's API keys, newest first")
async def list_keys(
    services: Services,
    principal: Principal,
    user_id: str | None = None,
    limit: PageSize = wire.LIST_DEFAULT,
    cursor: str | None = None,
) -> Keys:
    directory = await services.administration.read()
    return await _page(
        services, directory.keys if user_id is None else directory.keys_of(user_id), limit, cursor
    )


@post("/", responses=problems(404, 409), summary="Issue an API key to a user; it is shown this once")
async def issue_any_key(services: Services, principal: Principal, data: KeyBody) -> Response[IssuedKey]:
    new = _new_key(data.user_id, data.name, with_lower(data.scopes), data.expires_at, service=data.service)
    return await _issue(
        services, principal, new, lambda directory: issue_key(directory, new, datetime.now(UTC))
    )


@delete("/{key_id:str}", status_code=200, summary="Revoke an API key")
async def revoke_any_key(
    services: Services, principal: Principal, key_id: str, reason: Reason = ""
) -> ShownKey:
    """At once, on every node, with its open sockets."""
    return await _revoke(services, principal, key_id, reason, of=None)


def _new_key(
    user_id: str,
    name: str,
    scopes: Sequence[Scope],
    expires_at: datetime | None,
    *,
    service: bool = False,
) -> NewKey:
    secret = key_of(secrets.token_bytes(KEY_BYTES))
    return NewKey(str(new_id()), secret, user_id, name, tuple(scopes), service, expires_at)


def _own_scopes(principal: Principal, wanted: Sequence[Scope]) -> tuple[Scope, ...]:
    """Raises `Refusal` for what the credential that is used does not have."""
    has = within_role(principal.scopes, principal.role)
    scopes = with_lower(wanted) or has
    beyond = [scope for scope in scopes if scope not in has]
    if beyond:
        raise Refusal("scope_beyond_key", 400, scope=beyond[-1], scopes=", ".join(has))
    return scopes


async def _issue(
    services: Services, principal: Principal, new: NewKey, decide: Callable[[Directory], Decision]
) -> Response[IssuedKey]:
    def guarded(directory: Directory) -> Decision:
        decision = decide(directory)
        if services.identities.development:
            first_key_is_admins(directory, new)
        return decision

    directory = await services.administration.change(guarded, user_actor(principal.user_id))
    key = directory.key(new.key_id)
    assert key is not None  # noqa: S101 (it has just been appended)
    return Response(IssuedKey(new.secret, wire.shown_key(key, {})), status_code=201, headers=wire.NO_STORE)


async def _revoke(
    services: Services, principal: Principal, key_id: str, reason: str, *, of: str | None
) -> ShownKey:
    directory = await services.administration.change(
        lambda directory: revoke_key(directory, key_id, reason, of=of), user_actor(principal.user_id)
    )
    key = directory.key(key_id)
    assert key is not None  # noqa: S101 (it was found)
    return wire.shown_key(key, await key_uses.last_used(services.reads, [key_id]))


async def _page(services: Services, keys: Iterable[ApiKey], limit: int, cursor: str | None) -> Keys:
    newest = list(keys)[::-1]
    page, total, following = wire.page_of(newest, lambda key: key.key_id, limit=limit, cursor=cursor)
    used = await key_uses.last_used(services.reads, [key.key_id for key in page])
    return Keys([wire.shown_key(key, used) for key in page], total, following)


own_keys_router = Router(
    path="/api/v1/keys",
    route_handlers=[list_own_keys, issue_own_key, revoke_own_key],
    tags=["keys"],
)
admin_keys_router = Router(
    path="/api/v1/admin/keys",
    route_handlers=[list_keys, issue_any_key, revoke_any_key],
    opt={ADMINISTRATION: True},
    tags=["administration"],
)
