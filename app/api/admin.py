"""The administration: users, departments and quotas. Admins change, auditors read, for members it does not exist."""

from typing import Annotated

from litestar import Router, delete, get, patch, post, put
from litestar.params import Parameter

from app.api import admin_wire as wire
from app.api.admin_wire import (
    DepartmentPatch,
    Departments,
    NewDepartment,
    NewUser,
    Quota,
    Quotas,
    Removed,
    UserPatch,
    Users,
)
from app.api.problems import problems
from app.api.security import ADMINISTRATION
from app.api.services import Services
from app.auth import decisions
from app.auth.decisions import UserChange, known_user
from app.auth.directory import Department, User
from app.auth.principal import ID_CHARS_MAX, Principal
from app.core.admin_events import QuotaPeriod, QuotaSet, QuotaSubject, QuotaType
from app.core.envelope import user_actor

PageSize = Annotated[int, Parameter(ge=1, le=wire.LIST_MAX)]


@get("/users", summary="Users, by id")
async def list_users(
    services: Services,
    principal: Principal,
    department_id: str | None = None,
    limit: PageSize = wire.LIST_DEFAULT,
    cursor: str | None = None,
) -> Users:
    directory = await services.administration.read()
    users = directory.users if department_id is None else directory.members(department_id)
    return Users(*wire.page_of(users, lambda user: user.user_id, limit=limit, cursor=cursor))


@get("/users/{user_id:str}", summary="A user")
async def read_user(services: Services, principal: Principal, user_id: str) -> User:
    return known_user(await services.administration.read(), user_id)


@post("/users", responses=problems(404, 409), summary="Add a user")
async def add_user(services: Services, principal: Principal, data: NewUser) -> User:
    directory = await services.administration.change(
        lambda directory: decisions.add_user(
            directory, data.user_id, data.role, data.department_id, data.name
        ),
        user_actor(principal.user_id),
    )
    return known_user(directory, data.user_id)


@patch("/users/{user_id:str}", summary="Change, disable or enable a user")
async def change_user(services: Services, principal: Principal, user_id: str, data: UserPatch) -> User:
    """At once, on every node: sockets that a disabled user has open are closed. 409 where nobody could administer the
    server any more."""
    change = UserChange(data.role, data.department_id, data.name, data.disabled)
    admins = services.administration.settings_admins
    directory = await services.administration.change(
        lambda directory: decisions.change_user(directory, user_id, change, admins),
        user_actor(principal.user_id),
    )
    return known_user(directory, user_id)


@get("/departments", summary="Departments, by id")
async def list_departments(
    services: Services, principal: Principal, limit: PageSize = wire.LIST_DEFAULT, cursor: str | None = None
) -> Departments:
    directory = await services.administration.read()
    return Departments(
        *wire.page_of(directory.departments, lambda one: one.department_id, limit=limit, cursor=cursor)
    )


@get("/departments/{department_id:str}", summary="A department")
async def read_department(services: Services, principal: Principal, department_id: str) -> Department:
    return decisions.known_department(await services.administration.read(), department_id)


@post("/departments", responses=problems(409), summary="Add a department")
async def add_department(services: Services, principal: Principal, data: NewDepartment) -> Department:
    directory = await services.administration.change(
        lambda directory: decisions.add_department(directory, data.department_id, data.name),
        user_actor(principal.user_id),
    )
    return decisions.known_department(directory, data.department_id)


@patch("/departments/{department_id:str}", summary="Rename a department")
async def rename_department(
    services: Services, principal: Principal, department_id: str, data: DepartmentPatch
) -> Department:
    directory = await services.administration.change(
        lambda directory: decisions.rename_department(directory, department_id, data.name),
        user_actor(principal.user_id),
    )
    return decisions.known_department(directory, department_id)


@delete("/departments/{department_id:str}", status_code=200, summary="Remove a department and its quotas")
async def remove_department(services: Services, principal: Principal, department_id: str) -> Removed:
    """Its members have no department then."""
    await services.administration.change(
        lambda directory: decisions.remove_department(directory, department_id),
        user_actor(principal.user_id),
    )
    return Removed(True, department_id)


@get("/quotas", summary="Quotas of departments and users")
async def list_quotas(
    services: Services,
    principal: Principal,
    subject: QuotaSubject | None = None,
    subject_id: Annotated[str | None, Parameter(max_length=ID_CHARS_MAX)] = None,
    limit: PageSize = wire.LIST_DEFAULT,
    cursor: str | None = None,
) -> Quotas:
    directory = await services.administration.read()
    quotas = [
        wire.shown_quota(quota)
        for quota in directory.all_quotas
        if subject in (None, quota.subject) and subject_id in (None, quota.subject_id)
    ]
    return Quotas(*wire.page_of(quotas, wire.quota_name, limit=limit, cursor=cursor))


@put("/quotas", responses=problems(404), summary="Set a quota")
async def set_quota(services: Services, principal: Principal, data: Quota) -> Quota:
    quota = QuotaSet(data.subject, data.subject_id, data.quota_type, data.period, data.limit)
    await services.administration.change(
        lambda directory: decisions.set_quota(directory, quota), user_actor(principal.user_id)
    )
    return data


@delete(
    "/quotas/{subject:str}/{subject_id:str}/{quota_type:str}/{period:str}",
    status_code=200,
    summary="Remove a quota",
)
async def remove_quota(
    services: Services,
    principal: Principal,
    subject: QuotaSubject,
    subject_id: str,
    quota_type: QuotaType,
    period: QuotaPeriod,
) -> Removed:
    await services.administration.change(
        lambda directory: decisions.remove_quota(directory, subject, subject_id, quota_type, period),
        user_actor(principal.user_id),
    )
    return Removed(True, f"{subject}/{subject_id}/{quota_type}/{period}")


admin_router = Router(
    path="/api/v1/admin",
    route_handlers=[
        list_users,
        read_user,
        add_user,
        change_user,
        list_departments,
        read_department,
        add_department,
        rename_department,
        remove_department,
        list_quotas,
        set_quota,
        remove_quota,
    ],
    opt={ADMINISTRATION: True},
    tags=["administration"],
)
