"""Many sockets that chat at a stated rate with the service, for two minutes: frames, waits and memory.

    this process ── starts ──► the service ◄── 1 000 sockets of 200 users ── load_clients.py, a process of its own
         │ looks every 2 s at ──► its memory
         └ in the end holds what the clients have seen against the log (load_check.py)

The model is a scripted one; every tenth message calls a tool, and every nineteenth of the load has its socket dropped
in the middle of the answer and resumed. The sockets are plain: without compression.
"""

import asyncio
import secrets
import sys
from collections.abc import Sequence

import msgspec

from app.bench.ground import Ground
from app.bench.load_check import Found, check
from app.bench.load_plan import Phase, Plan, Said, Seen, User
from app.bench.load_server import Watch, flatness, service_of
from app.bench.measure import Goal, Row, milliseconds, quantile, row, thousands
from app.bench.process import Server, end
from app.core import streams
from app.core.envelope import Recorded
from app.log.log import Log

SUSTAINED_GOAL = 0.99
MEMORY_GOAL = 1.05
SAMPLE_SECONDS = 2.0
SAMPLES_MIN = 16
LATE_SECONDS_MAX = 600.0
"""How much longer than planned a phase may take."""


class Load(msgspec.Struct, frozen=True):
    """How much. `rate`: messages a second of all sockets together."""

    sockets: int = 1_000
    users: int = 200
    rate: float = 20.0
    seconds: float = 120.0


FULL = Load()
QUICK = Load(sockets=20, users=5, rate=10.0, seconds=3.0)


async def measure(ground: Ground, asked: Load | None = None) -> list[Row]:
    """Five rows; four where the system does not tell the memory of a process."""
    asked = asked or (QUICK if ground.quick else FULL)
    users = [User(f"user{number}", secrets.token_urlsafe(24)) for number in range(asked.users)]
    async with ground.log() as (dsn, log):
        async with service_of(ground, dsn, users) as server:
            watch = Watch(server.pid)
            seen = await _clients(ground, _plan(asked, users, server), watch)
        found = Found()
        for talk in seen.talks:
            check(found, talk, await _events(log, talk.user_id, talk.conversation_id))
    for example in found.examples:
        ground.say(f"load: {example}")
    return _rows(ground, asked, seen, found, watch)


def _plan(asked: Load, users: list[User], server: Server) -> Plan:
    return Plan(server.host, server.port, users, asked.sockets, asked.rate, asked.seconds, asked.seconds / 4)


async def _clients(ground: Ground, plan: Plan, watch: Watch) -> Seen:
    """Run them to their end, and look at the service during the load. Raises `RuntimeError`."""
    told, result = ground.folder / "load-plan.json", ground.folder / "load-seen.json"
    told.write_bytes(msgspec.json.encode(plan))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "app.bench.load_clients", str(told), str(result)),
        stdout=asyncio.subprocess.PIPE,
    )
    seconds_max = plan.seconds + plan.sockets / plan.rate + LATE_SECONDS_MAX
    watching: asyncio.Task[None] | None = None
    try:
        while phase := await _next_phase(process, seconds_max):
            ground.say(f"load: {phase}")
            if phase == "load":
                every_seconds = min(SAMPLE_SECONDS, plan.seconds / SAMPLES_MIN)
                watching = asyncio.create_task(watch.look_on(every_seconds, plan.seconds))
        if await process.wait() != 0:
            raise RuntimeError(f"the clients of the load benchmark ended with {process.returncode}")
        if watching is not None:
            await watching
    finally:
        if watching is not None:
            watching.cancel()
        await end(process)
    return msgspec.json.decode(result.read_bytes(), type=Seen)


async def _next_phase(process: asyncio.subprocess.Process, seconds_max: float) -> str:
    """Empty when the clients have ended. Raises `TimeoutError`."""
    assert process.stdout is not None  # noqa: S101 (a pipe was asked for)
    async with asyncio.timeout(seconds_max):
        return (await process.stdout.readline()).decode().strip()


async def _events(log: Log, owner: str, conversation_id: str) -> list[Recorded]:
    return [one async for one in log.reader.all_of(streams.conversation(owner, conversation_id))]


def _rows(ground: Ground, asked: Load, seen: Seen, found: Found, watch: Watch) -> list[Row]:
    said = [one for talk in seen.talks for one in talk.said]
    name = f"load, {thousands(asked.sockets)} sockets"
    rows = [_rate_row(ground, name, asked, said), _frames_row(name, said, found)]
    if watch.resident_kib:
        rows.append(_memory_row(ground, name, watch))
    else:
        ground.say("load: this system does not tell the memory of a process, so that row is left out")
    for what, waits in (("first frame", _first_waits), ("result", _result_waits)):
        rows.append(_waits_row(name, what, waits(said, "load"), waits(said, "tenth")))
    return rows


def _rate_row(ground: Ground, name: str, asked: Load, said: Sequence[Said]) -> Row:
    """Results a second, from the first to the last of the load: it is less than asked where they fall behind."""
    load = [one for one in said if one.phase == "load"]
    ends = sorted(one.result_at for one in load if one.result_wait is not None)
    rate = (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 1 else 0.0
    return row(
        name,
        f"results a second, over the messages a second that {asked.users} users were to send for {asked.seconds:g} s",
        [rate / asked.rate],
        goal=None if ground.quick else Goal("≥", SUSTAINED_GOAL),
        figures={"asked": f"{asked.rate:g}/s", "answered": f"{rate:.2f}/s", "messages": thousands(len(load))},
    )


def _frames_row(name: str, said: Sequence[Said], found: Found) -> Row:
    return row(
        f"{name}, every frame once",
        "frames that came exactly once and in their place, over those and all faults, held against the log",
        [found.frames / max(1, found.frames + found.faults)],
        goal=Goal("≥", 1),
        figures={
            "frames": thousands(found.frames),
            "of live text": thousands(found.live_frames),
            "lost": thousands(found.lost),
            "doubled": thousands(found.doubled),
            "out of order": thousands(found.disordered),
            "wrong": thousands(found.wrong),
            "sockets dropped and resumed": thousands(sum(one.dropped for one in said)),
        },
    )


def _memory_row(ground: Ground, name: str, watch: Watch) -> Row:
    early, late = flatness(watch.resident_kib)
    return row(
        f"{name}, memory",
        "resident memory of the service, median of the last quarter of the load over that of its second quarter",
        [late / early],
        goal=None if ground.quick else Goal("≤", MEMORY_GOAL),
        figures={
            "second quarter": f"{early / 1024:.1f} MiB",
            "last": f"{late / 1024:.1f} MiB",
            "CPUs that it kept busy": f"{watch.cpus:.2f}",
        },
    )


def _waits_row(name: str, what: str, load: Sequence[float], tenth: Sequence[float]) -> Row:
    def shown(waits: Sequence[float]) -> str:
        return ", ".join(milliseconds(quantile(waits, fraction)) for fraction in (0.5, 0.95, 0.99))

    return row(
        f"{name}, to the {what}",
        f"p99 from when a message is due to its {what}, over the same at a tenth of the rate",
        [quantile(load, 0.99) / quantile(tenth, 0.99)],
        figures={"p50, p95, p99": shown(load), "at a tenth": shown(tenth)},
    )


def _first_waits(said: Sequence[Said], phase: Phase) -> list[float]:
    return [one.first_wait for one in said if one.phase == phase and one.first_wait is not None]


def _result_waits(said: Sequence[Said], phase: Phase) -> list[float]:
    return [one.result_wait for one in said if one.phase == phase and one.result_wait is not None]
