"""Runs in one conversation: whether its length slows them down. It should not: a run reads no more than it shows."""

from itertools import count
from time import perf_counter

from app.bench.ground import Ground
from app.bench.measure import Goal, Row, milliseconds, per_second, row, take_turns, thousands
from app.bench.sample import OWNER
from app.core import streams
from app.core.envelope import NewEvent, user_actor
from app.core.events import Event, MessageAnswered, MessageReceived
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedModel, When
from app.log.connections import connect
from app.log.ids import new_id
from app.log.log import Log
from app.runs.accept import Conversations
from app.runs.roster import plain_roster
from app.runs.runner import Runs
from app.tools import calculator
from app.tools.toolbox import ToolBox

SHORT_MESSAGES = 10
LONG_MESSAGES = 500
RUNS = 12
QUICK_RUNS = 2
CALLS = 6
GOAL = 0.95
APPEND_EVENTS = 200
SIZES = (100, 1_000, 10_000)
SIZE = (
    """SELECT sum(pg_column_size(e.*)) FROM events e JOIN streams s ON s.id = e.stream_id WHERE s.name = $1"""
)


async def measure(ground: Ground) -> list[Row]:
    """One row: steps a second with 500 messages before them, over those with 10."""
    async with ground.log() as (dsn, log):
        toolbox = ToolBox([calculator.tool()])
        runs = Runs(log, _model(), toolbox)
        await runs.open()
        try:
            return await _take(
                ground, dsn, log, runs, Conversations(log, plain_roster(toolbox), tasks_max=1_000)
            )
        finally:
            await runs.close()


async def _take(ground: Ground, dsn: str, log: Log, runs: Runs, conversations: Conversations) -> list[Row]:
    names = count()

    async def with_messages(messages: int) -> float:
        conversation_id = f"steps-{messages}-{next(names)}"
        await _fill(log, streams.conversation(OWNER, conversation_id), messages)
        await _run(runs, conversations, conversation_id)  # what is older than is shown is summarised here
        return await _rate(ground, runs, conversations, conversation_id)

    async def short() -> float:
        return await with_messages(SHORT_MESSAGES)

    async def long() -> float:
        return await with_messages(LONG_MESSAGES)

    await take_turns(1, short, long)
    ground.say("steps: measuring")
    rounds = await take_turns(max(3, ground.rounds), short, long)
    figures = {
        "with 10": per_second(sum(base for base, _ in rounds) / len(rounds)),
        "with 500": per_second(sum(ours for _, ours in rounds) / len(rounds)),
    }
    for messages in SIZES:
        figures |= await _size(dsn, log, messages, next(names))
    return [
        row(
            "steps with 500 messages",
            "steps a second of one conversation's runs with 500 messages before them, over those with 10",
            [ours / base for base, ours in rounds],
            goal=Goal("≥", GOAL),
            figures=figures,
        )
    ]


def _model() -> ScriptedModel:
    """Calls the calculator six times, then answers."""
    call = ScriptedCall("calculator", {"expression": "2**10"})
    return ScriptedModel(
        [
            Rule(Answer(text="A summary."), When(tools_contain="calculator", step=CALLS)),
            Rule(Answer(tool_calls=(call,)), When(tools_contain="calculator")),
            Rule(Answer(text="A summary.")),
        ]
    )


async def _fill(log: Log, stream: str, messages: int) -> None:
    events: list[Event] = [
        MessageReceived(f"m{n}", f"Question {n} about boats and their sails")
        if n % 2 == 0
        else MessageAnswered(f"m{n}", f"Answer {n}: most boats have one sail, some have two or three.")
        for n in range(messages)
    ]
    tasks = [new_id() for _ in range(0, messages, 2)]
    new = [NewEvent(new_id(), event, user_actor(OWNER), tasks[n // 2]) for n, event in enumerate(events)]
    for start in range(0, len(new), APPEND_EVENTS):
        await log.append(stream, new[start : start + APPEND_EVENTS])


async def _run(runs: Runs, conversations: Conversations, conversation_id: str) -> None:
    await runs.start(await conversations.accept(OWNER, "How much is two to the tenth?", conversation_id))


async def _rate(ground: Ground, runs: Runs, conversations: Conversations, conversation_id: str) -> float:
    times = QUICK_RUNS if ground.quick else RUNS
    began = perf_counter()
    for _ in range(times):
        await _run(runs, conversations, conversation_id)
    # Each run: six model calls with a tool call each, and the last model call.
    return times * (2 * CALLS + 1) / (perf_counter() - began)


async def _size(dsn: str, log: Log, messages: int, number: int) -> dict[str, str]:
    """What a conversation of so many messages takes: the rows in the log, and the time to read all of them."""
    stream = streams.conversation(OWNER, f"steps-size-{number}")
    await _fill(log, stream, messages)
    began = perf_counter()
    events = sum([1 async for _ in log.reader.all_of(stream)])
    read = milliseconds(perf_counter() - began)
    connection = await connect(dsn, name="minutebook-bench-size")
    try:
        size_bytes = int(await connection.fetchval(SIZE, stream))
    finally:
        await connection.close()
    return {f"{thousands(events)} events": f"{thousands(size_bytes // 1024)} KiB, read in {read}"}
