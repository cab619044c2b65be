"""`minutebook departments`: what members belong to; quotas are set on them."""

import click

from app.auth import decisions
from app.auth.administration import Administration
from app.auth.decisions import known_department
from app.commands.administering import administer, author_option, json_option, record, show
from app.commands.database import Deployment

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
    added = record(
        deployment, lambda directory: decisions.add_department(directory, department_id, name), author
    )
    show([known_department(added, department_id)], COLUMNS, as_json=as_json)


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
    renamed = record(
        deployment, lambda directory: decisions.rename_department(directory, department_id, name), author
    )
    show([known_department(renamed, department_id)], COLUMNS, as_json=as_json)


@departments_command.command("remove")
@click.argument("department_id", metavar="ID")
@author_option
@click.pass_obj
def remove_department(deployment: Deployment, department_id: str, author: str) -> None:
    """Remove the department ID and its quotas. Its members have no department then."""
    record(deployment, lambda directory: decisions.remove_department(directory, department_id), author)
    click.echo(f"Removed the department {department_id}.")
