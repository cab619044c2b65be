"""Writers that append for as long as they may, and note what was acknowledged. Also a program, to be killed.

python -m tests.support.load DSN     prints `READY`, then a line for each acknowledged event
"""

import asyncio
import sys
from collections.abc import Callable

from app.log.errors import LogError
from app.log.log import Log, open_log
from tests.support.events import make_event

WRITERS = 40
STREAMS = 7


async def write_on(
    log: Log, writer: int, note: Callable[[str], None], go_on: Callable[[], bool], unknown: list[str]
) -> None:
    """Appends one numbered event after the other to one of 7 streams. `unknown`: those that failed."""
    number = 0
    while go_on():
        number += 1
        text = f"{writer}-{number}"
        try:
            await log.append(f"user/{writer % STREAMS}", [make_event(text)])
        except LogError:
            unknown.append(text)
        else:
            note(text)


async def main(dsn: str) -> None:
    log = await open_log(dsn, node_id="victim")

    def note(text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    note("READY")
    await asyncio.gather(*(write_on(log, writer, note, lambda: True, []) for writer in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
