"""`minutebook departments`: what members belong to; quotas are set on them."""

import click

from app.auth import decisions
from app.auth.administration import Administration
from app.auth.decisions import known_department
from app.auth.directory import Directory
from app.commands.administering import administer, author_option, json_option, show
from app.commands.minutes import Deployment

COLUMNS = ("department_id", "name", "created_at")


@click.group("departments")
def departments_command() -> None:
    """List, add, rename and remove departments."""


@departments_command.command("list")
@json_option
@click.pass_obj
def list_departments(deployment: Deployment, as_json: bool) -> None:
    """Show all departments, by id."""
    show(administer(deployment, Administration.read).departments, COLUMNS, as_json=as_json)


@departments_command.command("add")
@click.argument("department_id", metavar="ID")
@click.option("--name", default="", help="For people.")
@author_option
@json_option
@click.pass_obj
def add_department(deployment: Deployment, department_id: str, name: str, author: str, as_json: bool) -> None:
    """Add the department ID: letters, digits and . _ @ -"""

    async def add(administration: Administration) -> Directory:
        return await administration.change(
            lambda directory: decisions.add_department(directory, department_id, name), author
        )

    show([known_department(administer(deployment, add), department_id)], COLUMNS, as_json=as_json)


@departments_command.command("set")
@click.argument("department_id", metavar="ID")
@click.option("--name", required=True, help="For people.")
@author_option
@json_option
@click.pass_obj
def rename_department(
    deployment: Deployment, department_id: str, name: str, author: str, as_json: bool
) -> None:
    """Rename the department ID."""

    async def rename(administration: Administration) -> Directory:
        return await administration.change(
            lambda directory: decisions.rename_department(directory, department_id, name), author
        )

    show([known_department(administer(deployment, rename), department_id)], COLUMNS, as_json=as_json)


@departments_command.command("remove")
@click.argument("department_id", metavar="ID")
@author_option
@click.pass_obj
def remove_department(deployment: Deployment, department_id: str, author: str) -> None:
    """Remove the department ID and its quotas. Its members have no department then."""

    async def remove(administration: Administration) -> Directory:
        return await administration.change(
            lambda directory: decisions.remove_department(directory, department_id), author
        )

    administer(deployment, remove)
    click.echo(f"Removed the department {department_id}.")
