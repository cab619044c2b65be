"""A log whose figures are known, and the dashboard that shows it."""

from datetime import UTC, datetime, timedelta

import msgspec

from app.core import events as ev
from app.core.envelope import Recorded
from app.core.messages import ModelAnswer, Usage
from tests.browser.chromium import Tab
from tests.support.projected import Book, task
from tests.support.service import Service

OLD_RUNS = 60
SHOWN = "document.querySelector('main:not([aria-busy]):not([hidden])')"
ROWS = "#experiences tbody tr[data-id]"


def past() -> list[Recorded]:
    """Eight runs that ended an hour apart, the newest two hours ago: five succeeded, two failed, one was cancelled, and
    they took 1 to 8 s. Before these, three days ago, 60 that succeeded."""
    book, times = Book(), list[datetime]()
    now = datetime.now(UTC)
    ends = [now - timedelta(days=3, minutes=n) for n in range(OLD_RUNS, 0, -1)]
    ends += [now - timedelta(hours=2 + n) for n in range(7, -1, -1)]
    for number, at in enumerate(ends):
        recent = number - OLD_RUNS
        for event in run(number, recent):
            book.add(event, task(number), f"conversation/local/p{number % 5}")
            times.append(at)
    pairs = zip(book.recorded, times, strict=True)
    return [msgspec.structs.replace(recorded, recorded_at=at) for recorded, at in pairs]


def run(number: int, recent: int) -> list[ev.Event]:
    """`recent` 0 to 7: one of the last day, else an old one."""
    usage = Usage(900, 100)
    agent, skill = ("assistant", None) if recent % 2 else ("researcher", "letters")
    answer = ModelAnswer("small-model", "done", usage=usage)
    goal = f"write letter number {number}"
    found: list[ev.Event] = [
        ev.RunRequested(f"m{number}", goal, agent, "react", 1, skill, department_id="sales"),
        ev.ModelAnswered(1, "k", answer, duration_ms=500, cost_usd=0.25 if recent >= 0 else 0),
        ev.ToolReturned(1, "k", "c1", "post_office", "…", "tool_timeout" if recent in (6, 7) else None, 40),
    ]
    figures = {"steps": 2, "tool_calls": 1, "usage": usage, "duration_ms": 1000 * max(1, recent + 1)}
    match recent:
        case 2 | 4:
            found.append(ev.RunFailed("timeout", "It took too long.", **figures))
        case 5:
            found.append(ev.RunCancelled("user:local", **figures))
        case _:
            found += [ev.MessageAnswered(f"a{number}", "done"), ev.RunCompleted(**figures)]
    return found


def figure(name: str) -> str:
    return f'[data-figure="{name}"] dd'


async def shown(tab: Tab, service: Service, query: str = "") -> None:
    await tab.open(f"{service.url}/dashboard{query}")
    await tab.until(SHOWN)
