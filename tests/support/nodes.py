"""Two nodes that stay open for all examples of a property test; each example has streams of its own."""

import asyncio
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar

from app.log.log import Log, open_log

T = TypeVar("T")
EXAMPLE_SECONDS_MAX = 60.0


class Nodes:
    def __init__(self, runner: asyncio.Runner, logs: list[Log]) -> None:
        self._runner = runner
        self._numbers = count(1)
        self.logs = logs

    def run(self, example: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(asyncio.wait_for(example, EXAMPLE_SECONDS_MAX))

    def fresh(self) -> str:
        """A prefix for the streams of an example."""
        return f"example/{next(self._numbers)}"


@contextmanager
def running_nodes(dsn: str, number: int = 2) -> Generator[Nodes]:
    with asyncio.Runner() as runner:

        async def start() -> list[Log]:
            return [await open_log(dsn, node_id=f"node-{n}") for n in range(number)]

        logs = runner.run(start())
        yield Nodes(runner, logs)

        async def stop() -> None:
            await asyncio.gather(*(log.close() for log in logs))

        runner.run(stop())
