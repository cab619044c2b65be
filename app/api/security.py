"""Every HTTP handler's principal, from its credential, and whose things a reading call means."""

from typing import Annotated, Any

from litestar import Request
from litestar.exceptions import NotAuthorizedException, NotFoundException, PermissionDeniedException
from litestar.params import Parameter

from app.api.services import Services
from app.api.sockets import presented
from app.auth.principal import Principal
from app.core.texts import text

AnyRequest = Request[Any, Any, Any]
OWNER_CHARS_MAX = 100


async def provide_principal(request: AnyRequest, services: Services) -> Principal:
    """Raises 401 for a wrong or missing key, 403 where an auditor would change something."""
    principal = await services.identities.identify(presented(request))
    if principal is None:
        raise NotAuthorizedException(text("unauthorized", services.options.locale))
    if request.method not in ("GET", "HEAD", "OPTIONS") and not principal.may_write:
        raise PermissionDeniedException(text("forbidden", services.options.locale, role=principal.role))
    return principal


async def provide_owner(
    services: Services,
    principal: Principal,
    owner_: Annotated[
        str | None,
        Parameter(
            query="owner",
            min_length=1,
            max_length=OWNER_CHARS_MAX,
            description="Whose things; only admins and auditors may name somebody else",
        ),
    ] = None,
) -> str:
    """The user whose things a reading call means: the caller, or whom an admin or auditor names."""
    return owner_of(services, principal, owner_)


def owner_of(services: Services, principal: Principal, named: str | None) -> str:
    """Raises 404 where a member names anybody else, whether or not there is such a user."""
    if named is None or named == principal.user_id or principal.sees_all:
        return named or principal.user_id
    raise NotFoundException(text("no_owner", services.options.locale, owner=named[:OWNER_CHARS_MAX]))
