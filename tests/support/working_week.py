"""A week of a small firm: the log that the answers in docs/analytics.md are from. The same at every run."""

from datetime import UTC, datetime, timedelta
from random import Random

import msgspec

from app.core import events as ev
from app.core.envelope import Recorded
from app.core.messages import ModelAnswer, Usage
from tests.support.projected import Book, task

MONDAY = datetime(2026, 3, 2, 9, tzinfo=UTC)
RUNS_A_DAY = 20
_DESKS = {
    "sales": ("ann", "bo", "chen"),
    "law": ("dora",),
    "support": ("emil", "fay", "gus", "hong"),
}
_TASKS = (
    ("react", None, "look up the stock of item"),
    ("react", "spreadsheet", "add up the orders of week"),
    ("direct_chat", None, "write a friendly answer to letter"),
    ("plan_exec", "research", "compare offer"),
)
_TOOLS = {"react": ("calculator", "search"), "plan_exec": ("search", "fetch"), "direct_chat": ()}
_MILLISECONDS = {"calculator": 4, "search": 900, "fetch": 2_500}


def working_week(days: int = 5, after: int = 0, seed: int = 1) -> list[Recorded]:
    """100 runs, one after the other, a few of which fail or are cancelled; `after` is the position before them."""
    chance = Random(seed)
    book = Book(after=after)
    times: list[datetime] = []
    for number in range(days * RUNS_A_DAY):
        at = MONDAY + timedelta(days=number // RUNS_A_DAY, minutes=21 * (number % RUNS_A_DAY))
        desk = chance.choice(list(_DESKS))
        stream = f"conversation/{chance.choice(_DESKS[desk])}/c{seed}-{number % 7}"
        for event in _run(chance, number, desk):
            book.add(event, task(seed * 100_000 + number), stream)
            took_ms = event.duration_ms if isinstance(event, ev.ModelAnswered | ev.ToolReturned) else 0
            at += timedelta(milliseconds=took_ms + 1)
            times.append(at)
    pairs = zip(book.recorded, times, strict=True)
    return [msgspec.structs.replace(recorded, recorded_at=at) for recorded, at in pairs]


def _run(chance: Random, number: int, desk: str) -> list[ev.Event]:
    """Calls, then an answer, a failure or a person's word that it is enough."""
    mode, skill, goal = chance.choice(_TASKS)
    charged = {"charged_to": desk, "bound": True}
    asked = ev.RunRequested(
        f"m{number}", f"{goal} {number}", "assistant", mode, 1, skill, department_id=desk, **charged
    )
    found: list[ev.Event] = [asked]
    total, spent_ms = Usage(), 0
    tools = [chance.choice(_TOOLS[mode]) for _ in range(chance.randint(1, 3)) if _TOOLS[mode]]
    for step, tool in enumerate([*tools, None], start=1):
        usage = Usage(chance.randint(400, 3_000), chance.randint(20, 400))
        total += usage
        cost = (usage.prompt_tokens * 15 + usage.completion_tokens * 60) / 1e8
        spent_ms += (thought_ms := chance.randint(300, 2_000))
        answer = ModelAnswer("small-model", f"step {step}", usage=usage)
        found.append(
            ev.ModelAnswered(step, "k", answer, duration_ms=thought_ms, cost_usd=cost, aside=True, **charged)
        )
        if tool is not None:
            spent_ms += (tool_ms := round(_MILLISECONDS[tool] * chance.uniform(0.5, 2)))
            broken = "tool_timeout" if tool == "fetch" and chance.random() < 0.25 else None
            found.append(ev.ToolReturned(step, "k", f"call{step}", tool, "…", broken, tool_ms))
    figures = {"steps": len(tools) + 1, "tool_calls": len(tools), "usage": total, "duration_ms": spent_ms}
    match chance.random():
        case luck if luck < 0.08:
            found.append(ev.RunCancelled("user:boss", **figures))
        case luck if luck < (0.3 if mode == "plan_exec" else 0.14):
            why = chance.choice(("timeout", "timeout", "budget_exceeded"))
            found.append(ev.RunFailed(why, "It took too long.", **figures))
        case _:
            found += [ev.MessageAnswered(f"a{number}", "done"), ev.RunCompleted(**figures)]
    return found
