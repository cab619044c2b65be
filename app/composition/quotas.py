"""What quotas are measured with: the views of usage, as of now."""

from collections.abc import Callable
from datetime import datetime

from app.api.views import caught_up
from app.core.admin_events import QuotaSubject
from app.core.quotas import Tally
from app.log.errors import LogUnavailable
from app.log.log import Log
from projections import usage
from projections.reads import ReadPool, ViewsUnavailable
from projections.runner import ProjectionLag, ProjectionRunner


class UsageMeter:
    """`now` is the clock that says which hour it is; by default the database's, which also dates the events."""

    def __init__(
        self,
        log: Log,
        views: ProjectionRunner,
        reads: ReadPool,
        *,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self._log = log
        self._views = views
        self._reads = reads
        self._now = now

    async def tally(self, subject: QuotaSubject, subject_id: str) -> Tally:
        """With everything that is committed now, on whatever node. Raises `LogUnavailable`, also where the view cannot
        be brought up to date within 5 s: what is not known is never taken for nothing."""
        table = usage.TABLES[subject]
        try:
            await caught_up(self._log, self._views, table)
            at = None if self._now is None else self._now()
            return await usage.tally(self._reads, subject, subject_id, at=at)
        except (ProjectionLag, ViewsUnavailable) as error:
            raise LogUnavailable(f"the view {table} does not answer; try again") from error
