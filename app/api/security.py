"""Every HTTP call's principal, from its credential, what it may do, and whose things a reading call means.

`authenticate` guards all of the API before anything of a call is looked at: a wrong key learns nothing from its body.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Annotated, Any

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.exceptions import NotAuthorizedException, NotFoundException, PermissionDeniedException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from app.api.queries import refuse_as_of
from app.api.services import Services
from app.api.sockets import presented
from app.auth.principal import Principal, is_id
from app.core.texts import Locale, text

AnyRequest = Request[Any, Any, Any]
AnyConnection = ASGIConnection[Any, Any, Any, Any]
API_PATH = "/api/v1/"
CHALLENGE = {"WWW-Authenticate": "Bearer"}
OWNER_CHARS_MAX = 100
READING = frozenset({"GET", "HEAD", "OPTIONS"})
ADMINISTRATION = "administration"
"""Handlers with this option do not exist for members, and change something only for admins."""


async def authenticate(connection: AnyConnection, handler: BaseRouteHandler) -> None:
    """Raises 401 for a wrong or missing credential, 403 where the role or the key's scopes do not allow the call, 404
    for a member in the administration, and 400 for an `as_of` that the call does not take. Sockets have their own way
    (`sockets.open_line`)."""
    if connection.scope["type"] != ScopeType.HTTP or not connection.scope["path"].startswith(API_PATH):
        return
    services: Services = connection.app.state.services
    principal = await _principal_of(connection, services)
    changes = connection.scope["method"] not in READING
    if handler.opt.get(ADMINISTRATION):
        if not principal.sees_all:
            raise NotFoundException
        if changes and principal.role == "admin" and not principal.may_administer:
            raise PermissionDeniedException(lacks_scope(principal, "admin", services.options.locale))
    if changes and not principal.may_write:
        raise PermissionDeniedException(cannot_write(principal, services.options.locale))
    refuse_as_of(connection, handler)


async def provide_principal(request: AnyRequest, services: Services) -> Principal:
    """As `authenticate` has found it. Raises 401 outside of the API."""
    return await _principal_of(request, services)


async def _principal_of(connection: AnyConnection, services: Services) -> Principal:
    """Looked for once a call."""
    known: Principal | None = connection.state.get("principal")
    if known is not None:
        return known
    principal = await services.identities.identify(presented(connection))
    if principal is None:
        raise NotAuthorizedException(text("unauthorized", services.options.locale), headers=CHALLENGE)
    connection.state["principal"] = principal
    return principal


def cannot_write(principal: Principal, locale: Locale) -> str:
    """The sentence for who may only read: by the role, or by the scopes of the key."""
    if principal.role == "auditor":
        return text("forbidden", locale, role=principal.role)
    return lacks_scope(principal, "write", locale)


def lacks_scope(principal: Principal, needed: str, locale: Locale) -> str:
    return text("forbidden_scope", locale, scopes=", ".join(principal.scopes), needed=needed)


async def provide_owner(
    services: Services,
    principal: Principal,
    owner_: Annotated[
        str | None,
        QueryParameter(
            name="owner",
            min_length=1,
            max_length=OWNER_CHARS_MAX,
            description="Whose things; only admins and auditors may name somebody else",
        ),
    ] = None,
) -> str:
    """The user whose things a reading call means: the caller, or whom an admin or auditor names."""
    return owner_of(services, principal, owner_)


def owner_of(services: Services, principal: Principal, named: str | None) -> str:
    """Raises 404 where a member names anybody else, whether or not there is such a user, and for what is no user id."""
    if named is None or named == principal.user_id:
        return principal.user_id
    if principal.sees_all and is_id(named):
        return named
    raise NotFoundException(text("no_owner", services.options.locale, owner=named[:OWNER_CHARS_MAX]))


def demand_still(services: Services, principal: Principal) -> None:
    """Raises 401 where the caller would be refused by now, for answers that were waited for."""
    if services.identities.still(principal) != principal:
        raise NotAuthorizedException(text("key_ended", services.options.locale), headers=CHALLENGE)


async def while_allowed(
    services: Services, principal: Principal, chunks: AsyncIterator[bytes]
) -> AsyncGenerator[bytes]:
    """A long answer, up to the moment when its caller would be refused: a key that was revoked reads nothing more."""
    watching = asyncio.create_task(services.identities.watch(principal), name="while-allowed")
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(chunks))
            await asyncio.wait((coming, watching), return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                return
            try:
                chunk = coming.result()
            except StopAsyncIteration:
                return
            yield chunk
    finally:
        ending: list[asyncio.Future[Any]] = [watching] if coming is None else [watching, coming]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
