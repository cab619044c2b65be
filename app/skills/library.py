"""The skills of this deployment: what ships, and what stands in the configured folders."""

import os
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from app.agents.routing import SkillChoice, nearest_first
from app.skills.names import Tools
from app.skills.shelf import Place, Shelf
from app.skills.skill import Skill, parse_skill

SHIPPED = Path(__file__).parent / "shipped"
FILE = "SKILL.md"


class SkillLibrary:
    """Each folder holds folders with a `SKILL.md`; a skill of a later folder beats one of an earlier by its name.

    Reads all of them at once. Then `refresh` notices changes, at most once a second; the rest never reads a file.
    `known_tools` are the names of the deployment's tools, also as a live collection.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        known_tools: Collection[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tools = tools = Tools(known_tools)

        def read(place: Place, data: bytes) -> Skill:
            return parse_skill(place.file, data, tools=tools)

        self._shelf = Shelf("skill", folders, skill_files, read, clock=clock)

    async def refresh(self) -> None:
        """Notice what has changed. Never raises; see `Shelf.refresh`."""
        await self._shelf.refresh()

    @property
    def skills(self) -> tuple[Skill, ...]:
        """In the order of their names."""
        return self._shelf.items

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(skill.name for skill in self.skills)

    @property
    def choices(self) -> tuple[SkillChoice, ...]:
        """What routing has to know of them."""
        return tuple(SkillChoice(skill.name, skill.mode) for skill in self.skills)

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each file or folder that cannot be used as it is now."""
        return self._shelf.problems

    @property
    def notices(self) -> tuple[str, ...]:
        """One sentence for each skill that names tools which are not there now. It works without them."""
        return self._tools.notices("skill", ((skill.name, skill.tools) for skill in self.skills))

    def find(self, name: str) -> Skill | None:
        """The skill of that name, in whatever case."""
        return self._shelf.find(name)

    def suggest(self, name: str) -> tuple[str, ...]:
        """All names, those most like this one first."""
        return nearest_first(name, self.names)


def skill_files(folder: Path) -> Iterator[Place]:
    """Where the folder's skills have to be. Names that begin with `.` or `_` are nobody's. Raises `OSError`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.startswith((".", "_")) and (entry.is_symlink() or entry.is_dir()):
                yield Place(entry.name, folder / entry.name / FILE)
