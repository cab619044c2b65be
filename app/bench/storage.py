"""Bytes on disk over bytes of text, for imported conversations: of the log with its indexes, and with its views."""

import io
import json
from pathlib import Path

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, row
from app.bench.sample import OWNER, Sampler
from app.log.connections import Connection, connect
from app.log.log import Log
from app.transfer.importing import LineResult, import_file
from projections import ALL
from projections.runner import ProjectionRunner

REAL_FILE = Path("../shared/data/airline-conversations.jsonl")
CONVERSATIONS = 100
QUICK_CONVERSATIONS = 5
MESSAGES = 25
_BYTES = "SELECT pg_total_relation_size($1::text::regclass)"
_PARTS = """
SELECT count(*) AS events, sum(pg_column_size(payload)) AS stored_bytes,
       max(pg_column_compression(payload)) AS method, pg_relation_size('events') AS heap_bytes,
       pg_indexes_size('events') AS index_bytes
FROM events
"""


async def measure(ground: Ground) -> list[Row]:
    """Two rows. What is on disk does not vary, so this is measured once."""
    source, text = _source(ground)
    async with ground.log() as (dsn, log):
        ground.say(f"storage: importing {source}")
        await _import(log, text)
        connection = await connect(dsn, name="minutebook-bench-storage")
        try:
            log_bytes = await _size(connection, "events") + await _size(connection, "streams")
            figures = await _parts(connection, len(text))
            ProjectionRunner(dsn).run_to_end()
            views_bytes = sum([await _size(connection, projection.name) for projection in ALL])
        finally:
            await connection.close()
    what = f"bytes on disk, indexes included, over bytes of text: {source}"
    return [
        row("storage, the log", what, [log_bytes / len(text)], goal=Goal("≤", 2), figures=figures),
        row(
            f"storage, the log and its {len(ALL)} views",
            what,
            [(log_bytes + views_bytes) / len(text)],
            figures={"views": _share(views_bytes, len(text))},
        ),
    ]


async def _parts(connection: Connection, text_bytes: int) -> dict[str, str]:
    """Where the bytes are, as shares of the text."""
    found = await connection.fetchrow(_PARTS)
    if found is None:
        raise RuntimeError("a SELECT of totals gave no row")
    events, indexes = found["events"], found["index_bytes"]
    rest = found["heap_bytes"] - found["stored_bytes"]
    return {
        f"payloads ({found['method']})": _share(found["stored_bytes"], text_bytes),
        "envelopes and row headers": f"{_share(rest, text_bytes)} ({rest / events:.0f} bytes an event)",
        "indexes": f"{_share(indexes, text_bytes)} ({indexes / events:.0f} bytes an event)",
    }


def _share(size_bytes: int, text_bytes: int) -> str:
    return f"{size_bytes / text_bytes:.2f}"


async def _size(connection: Connection, table: str) -> int:
    return int(await connection.fetchval(_BYTES, table))


async def _import(log: Log, text: bytes) -> None:
    failed: list[LineResult] = []
    await import_file(
        log, io.BytesIO(text), OWNER, lambda line: failed.append(line) if line.outcome == "failed" else None
    )
    if failed:
        raise RuntimeError(f"line {failed[0].line} was not imported: {failed[0].error}")


def _source(ground: Ground) -> tuple[str, bytes]:
    """Real conversations where they are at hand, else made up ones; the bytes of text are those of the JSON lines."""
    if REAL_FILE.is_file() and not ground.quick:
        return "100 real conversations", REAL_FILE.read_bytes()
    sampler = Sampler()
    lines: list[str] = []
    for number in range(QUICK_CONVERSATIONS if ground.quick else CONVERSATIONS):
        messages = [
            {"role": ("user", "assistant")[index % 2], "content": sampler.text(400)}
            for index in range(MESSAGES)
        ]
        lines.append(json.dumps({"id": f"made-up-{number}", "messages": messages}))
    return f"{len(lines)} made up conversations", ("\n".join(lines) + "\n").encode()
