"""The clients of the load benchmark, in a process of their own: `python -m app.bench.load_clients PLAN RESULT`.

    opening ─► warm-up: each socket says one thing ─► a tenth of the rate ─► the load ─► a ping on each: what is late

Prints each phase when it begins. Messages are sent when they are due, whatever has become of the earlier ones, by the
socket that has been idle longest; waits count from when a message was due. Pings on sockets that were silent for
60 s keep them open, as clients do.
"""

import asyncio
import sys
from collections import deque
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from app.bench.load_plan import TOOL_WORD, Live, Phase, Plan, Said, Seen, Talk, Told, User

OPENED_AT_ONCE = 20
OPEN_SECONDS_MAX = 120.0
TURN_SECONDS_MAX = 120.0
SILENT_SECONDS_MAX = 60.0
LOOK_SECONDS = 5.0
QUEUE_FRAMES_MAX = 16
BUFFER_BYTES = 4 * 1024
DROP_BEHIND_LIVE_FRAMES = 2


class Client:
    """One person at one socket, in a conversation of their own. Says one thing after another."""

    def __init__(self, plan: Plan, user: User, number: int) -> None:
        self._plan = plan
        self._user = user
        self.talk = Talk(user.user_id, f"load-{number}")
        self.used_at = 0.0
        self._socket: ClientConnection | None = None
        self._said: Said | None = None
        self._due = 0.0

    async def open(self) -> None:
        self._socket = await connect(
            f"ws://{self._plan.host}:{self._plan.port}/api/v1/portal/ws",
            additional_headers={"X-API-Key": self._user.api_key},
            compression=None,
            proxy=None,
            open_timeout=OPEN_SECONDS_MAX,
            ping_interval=None,  # the server's are answered
            max_queue=QUEUE_FRAMES_MAX,
            write_limit=BUFFER_BYTES,
        )
        self.used_at = perf_counter()

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def say(self, said: Said, due: float) -> None:
        """Returns with the result. Never raises: what goes wrong is a trouble, and the socket is opened again."""
        self._said, self._due = said, due
        self.talk.said.append(said)
        try:
            async with asyncio.timeout(TURN_SECONDS_MAX):
                await self._send(type="chat", message=said.content, conversation_id=self.talk.conversation_id)
                await self._listen(said)
        except (OSError, WebSocketException, TimeoutError, msgspec.DecodeError) as error:
            await self._recover(error)
        self.used_at = perf_counter()

    async def ping(self) -> None:
        """Returns with the pong: whatever was sent before it has been read then."""
        try:
            async with asyncio.timeout(TURN_SECONDS_MAX):
                await self._send(type="ping")
                while not self._take(await self._receive(), None):
                    pass
        except (OSError, WebSocketException, TimeoutError, msgspec.DecodeError) as error:
            await self._recover(error)
        self.used_at = perf_counter()

    async def _listen(self, said: Said) -> None:
        """Until the result; a message whose socket is to be dropped loses it once some text has come."""
        left = DROP_BEHIND_LIVE_FRAMES if said.dropped else 0
        while True:
            live_before = self.talk.live_frames
            if self._take(await self._receive(), said):
                return
            if left and self.talk.live_frames > live_before:
                left -= 1
                if left == 0:
                    await self._drop(said)

    async def _drop(self, said: Said) -> None:
        self._abort()
        await self.open()
        await self._send(
            type="resume",
            task_id=said.task_id,
            conversation_id=self.talk.conversation_id,
            after=self.talk.told[-1].offset,
        )

    async def _recover(self, error: Exception) -> None:
        self.talk.troubles.append(f"{type(error).__name__}: {error}")
        self._abort()
        try:
            await self.open()
        except (OSError, WebSocketException, TimeoutError) as again:
            self.talk.troubles.append(f"not opened again: {type(again).__name__}: {again}")

    def _abort(self) -> None:
        if self._socket is not None:
            self._socket.transport.abort()

    async def _send(self, **frame: object) -> None:
        assert self._socket is not None  # noqa: S101 (opened before anything is said)
        await self._socket.send(msgspec.json.encode(frame).decode())

    async def _receive(self) -> dict[str, Any]:
        assert self._socket is not None  # noqa: S101
        return msgspec.json.decode(await self._socket.recv(), type=dict[str, Any])

    def _take(self, frame: dict[str, Any], said: Said | None) -> bool:
        """Put a frame on record. Whether it is the one that is waited for: the result of `said`, else a pong."""
        kind, data = frame["type"], frame.get("data", {})
        if kind == "pong":
            return said is None
        if kind == "connected":
            if frame["conversation_id"] != self.talk.conversation_id:
                self.talk.troubles.append(f"connected to {frame['conversation_id']}")
            return False
        if kind == "step":
            kind, data = data["event_type"], data["data"]
        if "offset" not in frame:
            return self._take_live(kind, data, frame)
        task_id = frame.get("task_id") or data.get("task_id", "")
        self.talk.told.append(Told(frame["offset"], kind, task_id))
        if said is None:
            return False
        if kind == "routing" and said.first_wait is None:
            said.first_wait = perf_counter() - self._due
            said.task_id = task_id
        if kind not in ("result", "error") or task_id != said.task_id:
            return False
        said.result_at = perf_counter()
        said.result_wait = said.result_at - self._due
        said.answer = data.get("message") if kind == "result" else None
        return True

    def _take_live(self, kind: str, data: dict[str, Any], frame: dict[str, Any]) -> bool:
        """True for what is no live text but a refusal: nothing more comes then."""
        if "answer_id" not in data:
            self.talk.troubles.append(f"a frame without an offset: {msgspec.json.encode(frame)[:200]!r}")
            return kind == "error"
        self.talk.live_frames += 1
        live = self.talk.live.setdefault(data["answer_id"], Live())
        if kind == "turn.thinking":
            live.thinking = data["content"] if data["reset"] else live.thinking + data["content"]
        else:
            live.text = data["content"] if data["reset"] else live.text + data["content"]
        return False


class Crowd:
    """All clients; those that are idle, in the order in which they became so."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        users = plan.users
        self.clients = [Client(plan, users[number % len(users)], number) for number in range(plan.sockets)]
        self._idle: deque[Client] = deque()
        self._freed = asyncio.Event()
        self._talking: set[asyncio.Task[None]] = set()
        self._numbers = 0

    async def run(self) -> Seen:
        _announce("opening")
        for start in range(0, len(self.clients), OPENED_AT_ONCE):
            opening = self.clients[start : start + OPENED_AT_ONCE]
            await asyncio.gather(*(client.open() for client in opening))
            self._idle += opening
        keeping = asyncio.create_task(self._keep_open())
        try:
            plan, tenth = self._plan, self._plan.rate / 10
            await self._talk("warm-up", len(self.clients), plan.rate)
            await self._talk("tenth", max(2, round(plan.tenth_seconds * tenth)), tenth)
            await self._talk("load", max(2, round(plan.seconds * plan.rate)), plan.rate)
        finally:
            keeping.cancel()
        for start in range(0, len(self.clients), OPENED_AT_ONCE):
            await asyncio.gather(*(client.ping() for client in self.clients[start : start + OPENED_AT_ONCE]))
        await asyncio.gather(*(client.close() for client in self.clients))
        return Seen([client.talk for client in self.clients])

    async def _talk(self, phase: Phase, messages: int, rate: float) -> None:
        """So many messages at that rate. Returns when all have their results."""
        _announce(phase)
        began = perf_counter()
        for number in range(messages):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - perf_counter()))
            client = await self._longest_idle()
            talking = asyncio.create_task(self._say(client, self._message(phase), due))
            self._talking.add(talking)
            talking.add_done_callback(self._talking.discard)
        await asyncio.gather(*self._talking)

    def _message(self, phase: Phase) -> Said:
        self._numbers += 1
        number, plan = self._numbers, self._plan
        asks = TOOL_WORD if number % plan.tool_every == 0 else "explain"
        dropped = phase == "load" and number % plan.drop_every == 0
        return Said(
            phase, f"Please {asks} what boat number {number} can carry over the sea.", dropped=dropped
        )

    async def _say(self, client: Client, said: Said, due: float) -> None:
        try:
            await client.say(said, due)
        finally:
            self._is_idle(client)

    async def _longest_idle(self) -> Client:
        while not self._idle:
            self._freed.clear()
            await self._freed.wait()
        return self._idle.popleft()

    def _is_idle(self, client: Client) -> None:
        self._idle.append(client)
        self._freed.set()

    async def _keep_open(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            while self._idle and perf_counter() - self._idle[0].used_at > SILENT_SECONDS_MAX:
                client = self._idle.popleft()
                try:
                    await client.ping()
                finally:
                    self._is_idle(client)


def _announce(phase: Phase) -> None:
    print(phase, flush=True)


def main() -> None:
    plan = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    Path(sys.argv[2]).write_bytes(msgspec.json.encode(_run(plan)))


def _run(plan: Plan) -> Seen:
    """On uvloop where there is one, as the service runs."""

    async def crowd() -> Seen:
        return await Crowd(plan).run()

    if sys.platform == "win32":
        return asyncio.run(crowd())
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(crowd())


if __name__ == "__main__":
    main()
