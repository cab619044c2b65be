"""The feed as a socket: what was missed, then live; several events to a frame. It asks nothing of its clients but an
occasional ping."""

from typing import Annotated

import msgspec
from litestar import WebSocket, websocket
from litestar.exceptions import NotFoundException
from litestar.params import QueryParameter

from app.api import feed_wire as wire
from app.api.feed import batches, open_feed, resume_answer
from app.api.queries import InvalidQuery
from app.api.security import owner_of
from app.api.services import Services
from app.api.socket_loop import attend, decoded
from app.api.sockets import CLOSE_NORMAL, CLOSE_POLICY, CLOSE_TRY_AGAIN, Line, open_line
from app.core.streams import conversation_key
from app.core.texts import text
from app.log.errors import HoleInLog, LogUnavailable
from app.log.log import Resumption
from app.log.subscribe import BATCH_EVENTS_MAX, Filter

_shared = wire.SharedFrame()


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Heartbeat."""


KINDS: dict[str, type[Ping]] = {"ping": Ping}


@websocket("/api/v1/conversations/{conversation_id:str}/feed")
async def feed_socket(
    socket: WebSocket,  # pyright: ignore[reportMissingTypeArgument,reportUnknownParameterType]
    services: Services,
    conversation_id: str,
    after: str | None = None,
    batch: str | None = None,
    types: str | None = None,
    task_id: str | None = None,
    owner_: Annotated[str | None, QueryParameter(name="owner")] = None,
) -> None:
    """First `resumed` with one of three answers, then `events` (at most `batch` a frame), `delta`, `heartbeat`."""
    line = await open_line(socket, services, "feed")  # pyright: ignore[reportUnknownArgumentType]
    if line is None:
        return
    async with services.sockets.admit(line):
        try:
            wanted = wire.parse_filter(types, task_id)
            batch_events = wire.parse_count("batch", batch, BATCH_EVENTS_MAX)
            stream, resumption = await open_feed(
                services, owner_of(services, line.principal, owner_), conversation_id, after
            )
        except (NotFoundException, InvalidQuery) as error:
            message = error.detail if isinstance(error, NotFoundException) else error.sentence(line.locale)
            await line.error(message)
            await line.close(CLOSE_POLICY, message)
            return
        except LogUnavailable:
            await line.error(text("log_unavailable", line.locale))
            await line.close(CLOSE_TRY_AGAIN)
            return
        await line.send(
            {"type": "resumed", **msgspec.to_builtins(resume_answer(resumption, conversation_id, owner_))}
        )
        if resumption.answer == "cannot":
            await line.close(CLOSE_NORMAL)
            return
        sending = _send(services, line, stream, resumption, wanted, batch_events)

        async def handle(received: str) -> None:
            decoded(received, KINDS, line.locale)
            await line.send({"type": "pong"})

        await attend(services, line, handle, where="feed socket", beside=sending, heartbeat_seconds=0)


async def _send(
    services: Services, line: Line, stream: str, resumption: Resumption, wanted: Filter, batch_events: int
) -> None:
    key = conversation_key(stream)
    own = key is not None and key.owner == line.principal.user_id
    async with services.log.subscribe(
        stream,
        after=resumption.after,
        wanted=wanted,
        batch_events_max=batch_events,
        heartbeat_seconds=services.options.feed_heartbeat_seconds,
    ) as reader:
        try:
            async for batch in batches(services, reader):
                if not own and not line.principal.sees_all:
                    return  # an admin or auditor who is no longer one
                if batch.events:
                    await line.send_raw(_shared.of(batch.events, resumption.epoch, batch.cursor))
                elif not batch.deltas:
                    cursor = wire.format_cursor(resumption.epoch, batch.cursor)
                    await line.send_raw(b'{"type":"heartbeat","cursor":"%s"}' % cursor.encode())
                for delta in batch.deltas:
                    await line.send_raw(wire.delta_frame(delta))
                if line.closed:
                    return
        except HoleInLog as error:
            await line.error(str(error))
