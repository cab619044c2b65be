"""Changes to users, keys, departments and quotas: decide on the directory as it is, and append; if somebody else was
quicker, decide again."""

from collections.abc import Callable

from app.auth.decisions import Decision
from app.auth.directory import Directory
from app.auth.following import FollowedDirectory
from app.core.envelope import NewEvent
from app.core.streams import ADMIN
from app.log.errors import LogUnavailable, OffsetConflict
from app.log.ids import new_id

ATTEMPTS_MAX = 20


class Administration:
    """`settings_admins` are admins whatever the directory says."""

    def __init__(self, followed: FollowedDirectory, *, settings_admins: frozenset[str] = frozenset()) -> None:
        self._followed = followed
        self.settings_admins = settings_admins

    @property
    def followed(self) -> FollowedDirectory:
        return self._followed

    async def read(self) -> Directory:
        """The directory as of now. Raises `LogUnavailable`."""
        return await self._followed.caught_up()

    async def change(self, decide: Callable[[Directory], Decision], actor: str) -> Directory:
        """Append what is decided, by `actor`; the directory with it. What `decide` raises leaves nothing written.

        `decide` may be called several times. Raises `LogUnavailable`, also where 20 others were quicker.
        """
        for _ in range(ATTEMPTS_MAX):
            directory = await self._followed.caught_up()
            decided = decide(directory)
            if not decided:
                return directory
            try:
                await self._followed.log.append(
                    ADMIN,
                    [NewEvent(new_id(), event, actor) for event in decided],
                    expected_offset=directory.offset,
                )
            except OffsetConflict:
                continue
            return await self._followed.caught_up()
        raise LogUnavailable("others were quicker every time; try again")
