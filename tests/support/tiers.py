"""Tiers of a gateway in tests: models that play a list of replies, and a gateway that never really waits."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from app.core.messages import ChatMessage, ModelAnswer, ModelRequest
from app.gateway.gateway import Gateway
from app.gateway.model import AttemptBegun, AttemptFailed, ModelError, ModelEvent, TextDelta

HELLO = ModelRequest((ChatMessage("user", "hello"),))
Reply = str | ModelError | Sequence[ModelEvent | Exception]


class Plays:
    """A model that does the next thing of a list at each call; the last one for ever."""

    def __init__(self, name: str, *replies: Reply) -> None:
        self.name = name
        self._replies = list(replies)
        self.requests: list[ModelRequest] = []
        self.loaded = self.closed = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        reply = self._replies[min(len(self.requests), len(self._replies) - 1)]
        self.requests.append(request)
        if isinstance(reply, ModelError):
            raise reply
        steps = [TextDelta(reply), ModelAnswer(self.name, reply)] if isinstance(reply, str) else reply
        for step in steps:
            if isinstance(step, Exception):
                raise step
            yield step

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        return None

    async def load(self) -> None:
        self.loaded += 1

    async def close(self) -> None:
        self.closed += 1


class Slept:
    """A sleep that only notes how long it was asked for."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def failure(error_class: str, *, transient: bool = False, after: float | None = None) -> ModelError:
    message = f"It is {error_class}."
    return ModelError(error_class, message, transient=transient, retry_after_seconds=after)


BUSY = failure("rate_limited", transient=True)
NO_KEY = failure("unauthorized")


def chain(main: Plays, *others: Plays, **options: object) -> Gateway:
    recovery, emergency = [*others, None, None][:2]
    dice: dict[str, object] = {"sleep": Slept(), "chance": lambda: 1.0, **options}
    return Gateway({"main": main}, "main", recovery=recovery, emergency=emergency, **dice)  # type: ignore[arg-type]


async def told(gateway: Gateway, request: ModelRequest = HELLO) -> list[ModelEvent]:
    return [event async for event in gateway.stream(request)]


async def failed(gateway: Gateway, request: ModelRequest = HELLO) -> tuple[list[ModelEvent], ModelError]:
    seen: list[ModelEvent] = []
    try:
        async for event in gateway.stream(request):
            seen.append(event)
    except ModelError as error:
        return seen, error
    raise AssertionError("the call did not fail")


def attempts(events: Sequence[ModelEvent]) -> list[tuple[str, int, str, str]]:
    rows: list[tuple[str, int, str, str]] = []
    for event in events:
        match event:
            case AttemptBegun(number, tier, model):
                rows.append(("begun", number, tier, model))
            case AttemptFailed(number, tier, _, error_class):
                rows.append(("failed", number, tier, error_class))
            case _:
                pass
    return rows


class Stuck(Plays):
    """A model that waits for ever once it has said `first`. Polite: it stops when it is cancelled."""

    def __init__(self, name: str, *first: ModelEvent, polite: bool = True) -> None:
        super().__init__(name)
        self._first = first
        self._polite = polite
        self.waiting = asyncio.Event()
        self.let_go = asyncio.Event()
        self.stopped = 0

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        for event in self._first:
            yield event
        self.waiting.set()
        while not self.let_go.is_set():
            try:
                await self.let_go.wait()
            except asyncio.CancelledError:
                self.stopped += 1
                if self._polite:
                    raise
        yield ModelAnswer(self.name, "too late")
