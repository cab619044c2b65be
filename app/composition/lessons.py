"""How runs find past experiences: the views of them, as of now."""

from collections.abc import Sequence
from uuid import UUID

from app.core.events import RunRequested
from app.core.lessons import Lesson
from app.log.errors import LogUnavailable
from app.log.log import Log
from app.runs.lessons import LessonsMissing
from projections import experience_texts, experiences, lessons
from projections.reads import ReadPool, ViewsUnavailable
from projections.runner import ProjectionLag, ProjectionRunner

VIEWS = (experiences.PROJECTION.name, experience_texts.PROJECTION.name)
BEHIND_SECONDS_MAX = 2.0


class LessonFinder:
    """One instance a process; `find` is what `Runs` takes as `find_lessons`."""

    def __init__(self, log: Log, views: ProjectionRunner, reads: ReadPool) -> None:
        self._log = log
        self._views = views
        self._reads = reads

    async def find(self, owner: str, task_id: UUID, requested: RunRequested) -> Sequence[Lesson]:
        """With everything that has ended by now, and nothing of what was deleted by now. Raises `LessonsMissing`, also
        where the views are not up to date within 2 s for each partition."""
        try:
            for partition in range(self._log.partitions):
                position = await self._log.reader.position(partition)
                await self._views.wait_for(position, BEHIND_SECONDS_MAX, *VIEWS, partition=partition)
            return await lessons.relevant(
                self._reads,
                owner=owner,
                task_id=task_id,
                task_type=experiences.task_type_of(requested),
                goal=requested.input,
                limit=requested.lessons,
            )
        except ProjectionLag as error:
            raise LessonsMissing("behind") from error
        except (LogUnavailable, ViewsUnavailable) as error:
            raise LessonsMissing("unavailable") from error
