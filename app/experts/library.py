"""The experts of this deployment: those that ship, and those of the configured folder."""

import difflib
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from app.agents.routing import NAME_CHARS_COMPARED, name_key, nearest_first
from app.experts.expert import Expert, expert_key, parse_expert
from app.skills.agent_files import agent_files
from app.skills.names import alike
from app.skills.shelf import Place, Shelf

SHIPPED = Path(__file__).parent / "shipped"
LIKENESS_MIN = 0.6


class ExpertLibrary:
    """Each folder holds TOML files; an expert of a later folder replaces one of the same id.

    Otherwise as `SkillLibrary`. `known_skills` gives the names of the skills that there are now.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        known_skills: Callable[[], Collection[str]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        def read(place: Place, data: bytes) -> Expert:
            return parse_expert(place.file, data)

        self._known_skills = known_skills
        self._shelf = Shelf("expert", folders, agent_files, read, clock=clock)

    async def refresh(self) -> None:
        """Notice what has changed. Never raises; see `Shelf.refresh`."""
        await self._shelf.refresh()

    @property
    def experts(self) -> tuple[Expert, ...]:
        """In the order of their ids."""
        return self._shelf.items

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(expert.id for expert in self.experts)

    @property
    def problems(self) -> tuple[str, ...]:
        """One sentence for each file or folder that cannot be used as it is now."""
        return self._shelf.problems

    @property
    def notices(self) -> tuple[str, ...]:
        """One sentence for each expert who is bound to a skill that is not there now. They work without it."""
        known = {name_key(name): name for name in self._known_skills()}
        return tuple(
            f"expert {expert.id!r} works without the skill {skill!r}: there is none{alike(skill, known.values())}"
            for expert in self.experts
            for skill in expert.skills
            if name_key(skill) not in known
        )

    def find(self, name: str) -> Expert | None:
        """By id, else by name in either language, in whatever case: `Product Manager` is also `product_manager`."""
        wanted = expert_key(name)
        for expert in self.experts:
            if expert_key(expert.id) == wanted:
                return expert
        for expert in self.experts:
            if wanted in map(expert_key, expert.called):
                return expert
        return None

    def near(self, name: str) -> str | None:
        """What was probably meant, as it may be written in a command; None where nothing is like it."""
        wanted = expert_key(name)[:NAME_CHARS_COMPARED]
        called = {
            expert_key(one)[:NAME_CHARS_COMPARED]: one for expert in self.experts for one in expert.called
        }
        found = difflib.get_close_matches(wanted, called, 1, LIKENESS_MIN)
        return "-".join(called[found[0]].split()) if found else None

    def suggest(self, name: str) -> tuple[str, ...]:
        """All ids, those most like this name first."""
        return nearest_first(name, self.ids)
