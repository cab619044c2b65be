"""`minutebook quotas`: how much a department or a user may use."""

import click
import msgspec

from app.auth import decisions
from app.auth.administration import Administration
from app.auth.decisions import LIMIT_MAX
from app.commands.administering import administer, author_option, json_option, record, show
from app.commands.database import Deployment
from app.core.admin_events import QuotaPeriod, QuotaSet, QuotaSubject, QuotaType

COLUMNS = ("subject", "subject_id", "quota_type", "period", "limit")
subject_argument = click.argument("subject", type=click.Choice(["department", "user"]))
id_argument = click.argument("subject_id", metavar="ID")
type_argument = click.argument(
    "quota_type", metavar="{requests|tokens|cost}", type=click.Choice(["requests", "tokens", "cost"])
)
period_argument = click.argument(
    "period", metavar="{hour|day|month}", type=click.Choice(["hour", "day", "month"])
)


class Line(msgspec.Struct, frozen=True):
    """`limit` in messages, tokens or US dollars within each period of the calendar, in UTC."""

    subject: QuotaSubject
    subject_id: str
    quota_type: QuotaType
    period: QuotaPeriod
    limit: float


@click.group("quotas")
def quotas_command() -> None:
    """List, set and remove quotas of departments and users."""


@quotas_command.command("list")
@json_option
@click.pass_obj
def list_quotas(deployment: Deployment, as_json: bool) -> None:
    """Show all quotas."""
    directory = administer(deployment, Administration.read)
    show([_line(quota) for quota in directory.all_quotas], COLUMNS, as_json=as_json)


@quotas_command.command("set")
@subject_argument
@id_argument
@type_argument
@period_argument
@click.argument("limit", type=click.FloatRange(min=0, max=LIMIT_MAX))
@author_option
@json_option
@click.pass_obj
def set_quota(
    deployment: Deployment,
    subject: QuotaSubject,
    subject_id: str,
    quota_type: QuotaType,
    period: QuotaPeriod,
    limit: float,
    author: str,
    as_json: bool,
) -> None:
    """From now on at most LIMIT within each hour, day or month (UTC). Cost is in US dollars; 0 lets nothing through."""
    quota = QuotaSet(subject, subject_id, quota_type, period, limit)
    record(deployment, lambda directory: decisions.set_quota(directory, quota), author)
    show([_line(quota)], COLUMNS, as_json=as_json)


@quotas_command.command("remove")
@subject_argument
@id_argument
@type_argument
@period_argument
@author_option
@click.pass_obj
def remove_quota(
    deployment: Deployment,
    subject: QuotaSubject,
    subject_id: str,
    quota_type: QuotaType,
    period: QuotaPeriod,
    author: str,
) -> None:
    """Remove a quota: there is no such limit any more."""
    record(
        deployment,
        lambda directory: decisions.remove_quota(directory, subject, subject_id, quota_type, period),
        author,
    )
    click.echo(f"Removed the quota of {quota_type} for each {period} of the {subject} {subject_id}.")


def _line(quota: QuotaSet) -> Line:
    return Line(quota.subject, quota.subject_id, quota.quota_type, quota.period, quota.limit)
