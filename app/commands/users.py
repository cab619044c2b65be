"""`minutebook users`: who may use the service, and as what."""

import click
from msgspec import UNSET

from app.auth import decisions
from app.auth.administration import Administration
from app.auth.decisions import UserChange, known_user
from app.auth.directory import Directory, User
from app.auth.principal import Role
from app.commands.administering import administer, author_option, json_option, record, show
from app.commands.database import Deployment

COLUMNS = ("user_id", "role", "department_id", "disabled", "name", "created_at")
role_type = click.Choice(["admin", "member", "auditor"])


@click.group("users")
def users_command() -> None:
    """List, add, change, disable and enable users."""


@users_command.command("list")
@click.option("--department", help="Only the members of this department.")
@json_option
@click.pass_obj
def list_users(deployment: Deployment, department: str | None, as_json: bool) -> None:
    """Show all users, by id."""
    directory = administer(deployment, Administration.read)
    users = directory.users if department is None else directory.members(department)
    show(users, COLUMNS, as_json=as_json)


@users_command.command("add")
@click.argument("user_id", metavar="ID")
@click.option("--role", type=role_type, default="member", show_default=True)
@click.option("--department", default="", help="Whose quotas bind this user, if a member.")
@click.option("--name", default="", help="For people.")
@author_option
@json_option
@click.pass_obj
def add_user(
    deployment: Deployment,
    user_id: str,
    role: Role,
    department: str,
    name: str,
    author: str,
    as_json: bool,
) -> None:
    """Add the user ID: letters, digits and . _ @ -"""
    added = record(
        deployment, lambda directory: decisions.add_user(directory, user_id, role, department, name), author
    )
    _show_one(added, user_id, as_json=as_json)


@users_command.command("set")
@click.argument("user_id", metavar="ID")
@click.option("--role", type=role_type)
@click.option("--department", help="Empty: none.")
@click.option("--name")
@click.option("--disable/--enable", "disabled", default=None, help="Whether keys and tokens are refused.")
@author_option
@json_option
@click.pass_obj
def set_user(
    deployment: Deployment,
    user_id: str,
    role: Role | None,
    department: str | None,
    name: str | None,
    disabled: bool | None,
    author: str,
    as_json: bool,
) -> None:
    """Change the user ID. What is not given stays. At once, also where the service runs."""
    change = UserChange(
        UNSET if role is None else role,
        UNSET if department is None else department,
        UNSET if name is None else name,
        UNSET if disabled is None else disabled,
    )
    _change(deployment, user_id, change, author, as_json=as_json)


@users_command.command("disable")
@click.argument("user_id", metavar="ID")
@author_option
@json_option
@click.pass_obj
def disable_user(deployment: Deployment, user_id: str, author: str, as_json: bool) -> None:
    """Refuse all keys and tokens of the user ID from now on. Open sockets are closed."""
    _change(deployment, user_id, UserChange(disabled=True), author, as_json=as_json)


@users_command.command("enable")
@click.argument("user_id", metavar="ID")
@author_option
@json_option
@click.pass_obj
def enable_user(deployment: Deployment, user_id: str, author: str, as_json: bool) -> None:
    """Take the keys and tokens of the user ID again."""
    _change(deployment, user_id, UserChange(disabled=False), author, as_json=as_json)


def _change(deployment: Deployment, user_id: str, change: UserChange, author: str, *, as_json: bool) -> None:
    async def act(administration: Administration) -> Directory:
        admins = administration.settings_admins
        return await administration.change(
            lambda directory: decisions.change_user(directory, user_id, change, admins), author
        )

    _show_one(administer(deployment, act), user_id, as_json=as_json)


def _show_one(directory: Directory, user_id: str, *, as_json: bool) -> None:
    found: list[User] = [known_user(directory, user_id)]
    show(found, COLUMNS, as_json=as_json)
