"""What is left: the quotas that somebody, or a department, has, and what was used of them by now."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import Router, get
from litestar.exceptions import NotFoundException
from litestar.params import Parameter

from app.api.security import OWNER_CHARS_MAX
from app.api.services import Services
from app.auth.principal import Principal
from app.core.events import QuotaInfo, QuotaSet
from app.core.quotas import Tally, end_of, info_of, start_of
from app.core.texts import text


class ShownQuota(msgspec.Struct, frozen=True):
    """A quota as it is set now. `subject` is `department` or `user`; the cost is in US dollars. `current` counts from
    `period_start` and begins anew at `resets_at`."""

    subject: str
    subject_id: str
    department_id: str
    quota_type: str
    period: str
    limit: float
    current: float
    period_start: datetime
    resets_at: datetime


class ShownQuotas(msgspec.Struct, frozen=True):
    """Whose quotas these are: a user's own and their department's, or (`owner` empty) a department's. `bound`: whether
    they bind at all; admins and service keys they do not."""

    owner: str
    department_id: str
    bound: bool
    quotas: list[ShownQuota]


@get("/", summary="Quotas, and what was used of them")
async def read_quotas(
    services: Services,
    principal: Principal,
    owner: str,
    department: Annotated[
        str | None,
        Parameter(
            min_length=1,
            max_length=OWNER_CHARS_MAX,
            description="A department instead of a person; only admins and auditors may name another than their own",
        ),
    ] = None,
) -> ShownQuotas:
    """One's own, unless `owner` or `department` says otherwise."""
    quotas = services.quotas
    if department is not None:
        if department != principal.department_id and not principal.sees_all:
            detail = text("no_owner", services.options.locale, owner=department)
            raise NotFoundException(detail)
        found = await quotas.standing("department", department)
        return ShownQuotas("", department, True, _shown(found))
    if owner == principal.user_id:
        department_id, bound = principal.department_id, principal.is_bound
    else:
        department_id, bound = await quotas.membership(owner)
    found = await quotas.standing("user", owner)
    if department_id:
        found += await quotas.standing("department", department_id)
    return ShownQuotas(owner, department_id, bound, _shown(found))


def _shown(found: list[tuple[QuotaSet, Tally]]) -> list[ShownQuota]:
    return [_quota(quota, info_of(quota, tally), tally.at) for quota, tally in found]


def _quota(quota: QuotaSet, info: QuotaInfo, at: datetime) -> ShownQuota:
    fields: dict[str, Any] = msgspec.structs.asdict(info)
    return ShownQuota(
        subject=quota.subject,
        subject_id=quota.subject_id,
        **fields,
        period_start=start_of(quota.period, at),
        resets_at=end_of(quota.period, at),
    )


quotas_router = Router(path="/api/v1/quotas", route_handlers=[read_quotas], tags=["quotas"])
