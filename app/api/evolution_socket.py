"""The socket of the evolution dashboard (wire contract, section 8): experiences as they come, and word that metrics
have changed.

    connected ──► what there was behind `after` ──► live: experience_added, each once, in the log's order
                                                    └──► metrics_updated for each period, at most once a second

Nothing is kept for a socket but its cursor: what it has not been told is read from the view.
"""

import asyncio
from typing import Annotated, Any, assert_never

import msgspec
from litestar import WebSocket, websocket
from litestar.exceptions import HTTPException
from litestar.params import QueryParameter

from app.api.evolution import PERIODS, VIEWS, seen_by
from app.api.queries import SHOWN_CHARS_MAX, InvalidQuery
from app.api.services import Services
from app.api.socket_loop import attend, decoded, sentence_of
from app.api.sockets import CLOSE_NOT_FOUND, CLOSE_TRY_AGAIN, Line, open_line
from app.log.log import Log
from projections.experiences_reads import ToldExperience, added

PAGE = 200
COALESCE_SECONDS = 1.0
IDLE_SECONDS = 5.0
"""A wake-up that was lost costs as much."""
VIEW_SECONDS_MAX = 5.0
CURSOR_CHARS_MAX = 200


class Ping(msgspec.Struct, frozen=True):
    """Heartbeat."""


KINDS: dict[str, type[Ping]] = {"ping": Ping}


def format_cursor(positions: tuple[int, ...]) -> str:
    """The position in each partition of the log, with commas between."""
    return ",".join(map(str, positions))


def parse_cursor(text: str, partitions: int) -> tuple[int, ...]:
    """Raises `InvalidQuery`."""
    parts = text.split(",") if len(text) <= CURSOR_CHARS_MAX else []
    if len(parts) != partitions or not all(
        part.isascii() and part.isdigit() and len(part) <= 18 for part in parts
    ):
        raise InvalidQuery("cursor_of_experiences", name="after", given=text[:SHOWN_CHARS_MAX])
    return tuple(map(int, parts))


def experience_frame(one: ToldExperience, cursor: str) -> dict[str, Any]:
    return {
        "type": "experience_added",
        "data": {
            "id": one.id,
            "task_type": one.task_type,
            "goal": one.goal,
            "outcome": one.outcome,
            "agent": one.agent,
            "owner": one.owner,
            "conversation_id": one.conversation_id,
            "duration_seconds": None if one.duration_ms is None else one.duration_ms / 1000,
            "created_at": one.ended_at,
        },
        "cursor": cursor,
    }


class _Watch:
    """One socket. `positions` is how far it has been told."""

    def __init__(self, services: Services, line: Line, owner: str | None, positions: tuple[int, ...]) -> None:
        self._services = services
        self._line = line
        self._owner = owner
        self._positions = list(positions)

    @property
    def cursor(self) -> str:
        return format_cursor(tuple(self._positions))

    async def tell(self, stirred: asyncio.Event) -> None:
        """Until the socket is closed."""
        while not self._line.closed:
            stirred.clear()  # before reading: what comes meanwhile is read again
            if await self._catch_up():
                for period in PERIODS:
                    await self._line.send({"type": "metrics_updated", "data": {"period": period}})
            await asyncio.sleep(COALESCE_SECONDS)
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    await stirred.wait()
            except TimeoutError:
                pass

    async def _catch_up(self) -> bool:
        """Whether there was anything new."""
        found = False
        for partition in range(self._services.log.partitions):
            until = await self._services.log.reader.position(partition)
            if until <= self._positions[partition]:
                continue
            await self._services.views.wait_for(until, VIEW_SECONDS_MAX, *VIEWS, partition=partition)
            while await self._page(partition, until):
                found = True
        return found

    async def _page(self, partition: int, until: int) -> bool:
        """Whether there was anything. Afterwards everything up to `until` has been told, or there is more."""
        after = self._positions[partition]
        page = await added(self._services.reads, partition, after, until, owner=self._owner, limit=PAGE)
        for one in page:
            self._positions[partition] = one.position
            await self._line.send(experience_frame(one, self.cursor))
        if len(page) < PAGE:
            self._positions[partition] = until
        return bool(page)

    async def handle(self, received: str) -> None:
        frame = decoded(received, KINDS, self._line.locale)
        match frame:
            case Ping():
                await self._line.send({"type": "pong"})
            case _ as never:
                assert_never(never)


async def _now(log: Log) -> tuple[int, ...]:
    return tuple([await log.reader.position(partition) for partition in range(log.partitions)])


@websocket("/api/v1/evolution/ws")
async def evolution_socket(
    socket: WebSocket,  # pyright: ignore[reportMissingTypeArgument,reportUnknownParameterType]
    services: Services,
    owner_: Annotated[str | None, QueryParameter(name="owner")] = None,
    after: str | None = None,
) -> None:
    """Frames in: ping. `after`: the `cursor` of the last frame; what has ended since comes first. `owner`: one user's,
    for admins and auditors; else all that one may see."""
    line = await open_line(socket, services, "evolution")  # pyright: ignore[reportUnknownArgumentType]
    if line is None:
        return
    async with services.sockets.admit(line):
        try:
            owner = seen_by(services, line.principal, owner_)
            now = await _now(services.log)
            positions = parse_cursor(after, services.log.partitions) if after else now
        except HTTPException as error:
            await line.refuse(CLOSE_NOT_FOUND, error.detail)
            return
        except InvalidQuery as error:
            await line.refuse(CLOSE_NOT_FOUND, error.sentence(line.locale))
            return
        except Exception as error:
            await line.refuse(CLOSE_TRY_AGAIN, sentence_of(error, line.locale, "evolution socket"))
            return
        watch = _Watch(services, line, owner, tuple(map(min, positions, now)))
        await line.send({"type": "connected", "owner": owner, "cursor": watch.cursor})
        with services.news.listening() as stirred:
            await attend(
                services,
                line,
                watch.handle,
                where="evolution socket",
                beside=watch.tell(stirred),
            )
