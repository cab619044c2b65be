"""Runs go on through real restarts of Postgres, and nothing of them is written twice."""

import asyncio
from pathlib import Path
from uuid import uuid4

from app.database.embedded import EmbeddedPostgres
from app.database.migrate import migrate
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedModel, When
from app.log.log import open_log
from app.runs.accept import Accepted
from tests.support.runs import Notes, normal, process, stream_events, task_events

RUNS = 30
RESTARTS = 3
QUESTION = "Take three notes and tell me about them"
ROUNDS = [
    Rule(
        Answer(
            text=f"round {n}",
            tool_calls=(ScriptedCall("note", {"text": "{last_user}"}),) * 2,
            delay_ms_per_chunk=30,
        ),
        When(step=n),
    )
    for n in range(6)
]


async def test_runs_survive_restarts_of_postgres(tmp_path: Path) -> None:
    notes = Notes("once")
    model = ScriptedModel([*ROUNDS, Rule(Answer(text="The end: {last_tool}", delay_ms_per_chunk=30))])
    with EmbeddedPostgres(tmp_path / "data") as postgres:
        migrate(postgres.dsn)
        log = await open_log(postgres.dsn, node_id=str(uuid4()))
        async with process(log, model, [notes.tool]) as p:
            accepted: list[Accepted] = [
                await p.conversations.accept("alice", QUESTION, f"c{n}") for n in range(RUNS)
            ]
            alone = await p.conversations.accept("alice", QUESTION, "alone")
            await p.runs.start(alone)
            whole = await task_events(log, alone)
            tasks = [p.runs.start(one) for one in accepted]
            for n in range(RESTARTS):
                await asyncio.wait({tasks[n]}, timeout=0.3)  # let them get somewhere
                await asyncio.to_thread(postgres.restart, "immediate" if n % 2 else "fast")
            async with asyncio.timeout(60):
                await asyncio.gather(*tasks)
            for one in accepted:
                events = await task_events(log, one)
                assert normal(events) == normal(whole)
                stream = await stream_events(log, one.stream)
                assert [recorded.offset for recorded in stream] == list(range(1, len(stream) + 1))
        await log.close()
    assert len(notes.keys) == len(set(notes.keys)) == (RUNS + 1) * 12
