"""Every HTTP handler's principal, from the API key."""

from typing import Any

from litestar import Request
from litestar.exceptions import NotAuthorizedException, PermissionDeniedException

from app.api.services import Services
from app.api.sockets import presented_key
from app.auth.principal import Principal
from app.core.texts import text

AnyRequest = Request[Any, Any, Any]


async def provide_principal(request: AnyRequest, services: Services) -> Principal:
    """Raises 401 for a wrong or missing key, 403 where an auditor would change something."""
    principal = services.keys.identify(presented_key(request))
    if principal is None:
        raise NotAuthorizedException(text("unauthorized", services.options.locale))
    if request.method not in ("GET", "HEAD", "OPTIONS") and not principal.may_write:
        raise PermissionDeniedException(text("forbidden", services.options.locale, role=principal.role))
    return principal
