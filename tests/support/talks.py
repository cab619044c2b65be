"""Boards and teams over the real sockets: what a scripted model says there, and a talk on either of the two."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

import httpx

from tests.support.chat import chat, opened
from tests.support.portal import Frame, Portal, portal
from tests.support.service import Service

Surface = Literal["portal", "session"]
SURFACES: tuple[Surface, ...] = ("portal", "session")
TALK_SECONDS_MAX = 60

CONCLUSION = {
    "summary": "Ships are wanted.",
    "decision_advice": "Build one.",
    "consensus_points": ["Ships float."],
    "dissent_points": [{"point": "Too dear", "who": ["Skeptic", "Engineer"]}],
    "votes": [{"expert": "Engineer", "vote": "yes", "reason": "fast"}],
}
PLAN = {
    "phases": [
        {"id": "p1", "name": "Research", "task": "Count the ships.", "owner": "Researcher", "depends_on": []},
        {"id": "p2", "name": "Design", "task": "Draw a ship.", "owner": "Engineer", "depends_on": []},
        {"id": "p3", "name": "Write", "task": "Write it up.", "owner": "Writer", "depends_on": ["p1", "p2"]},
    ],
    "contracts": [{"provider": "Researcher", "consumer": "Writer", "deliverable": "a list", "phase": "p1"}],
    "risks": [{"risk": "Little time", "severity": "high"}],
}
REVIEW = {"accepted": True, "comment": "Good.", "risks": []}


def about(surface: Surface) -> str:
    """The topic of the meeting on that surface."""
    return f"ships for {surface}"


def held(gate: Path, name: str) -> dict[str, Any]:
    """An answer stops behind its second chunk until the file is there."""
    return {"chunk_chars": 5, "hold_after_chunks": 2, "wait_for_file": str(gate / name)}


def rules_of_board(gate: Path, about: str) -> list[dict[str, Any]]:
    """A board about this: the first speech waits for `ABOUT-speech`, one of the second round for ever, and one of the
    third fails."""

    def spoken(name: str, number: int) -> dict[str, Any]:
        turn = {
            "last_user_contains": f"your turn in round {number} of",
            "system_contains": f"You are {name},",
        }
        return {**turn, "messages_contain": about}

    first = {"text": "I say: build ships, and many.", **held(gate, f"{about}-speech")}
    endless = {"text": "There is so much more to say.", **held(gate, f"{about}-never")}
    broken = {"error": {"class": "bad_request", "message": "The model refused the request."}}
    return [
        {"when": spoken("Strategist", 1), "answer": first},
        {"when": spoken("Engineer", 2), "answer": endless},
        {"when": spoken("Finance Expert", 3), "answer": broken},
    ]


RULES_OF_BOARDS: list[dict[str, Any]] = [
    {"when": {"last_user_contains": "Draw its conclusion"}, "answer": {"text": json.dumps(CONCLUSION)}},
    {"when": {"last_user_contains": "Sum up round"}, "answer": {"text": "Two views.\nCONSENSUS: NO"}},
    {"when": {"last_user_contains": "Open the meeting"}, "answer": {"text": "Welcome.", "thinking": "Hm."}},
    {"when": {"last_user_contains": "It is your turn"}, "answer": {"text": "I agree.", "thinking": "Hm."}},
]


def rules_of_team(gate: Path, about: str) -> list[dict[str, Any]]:
    """A team about this: the researcher's draft waits for `ABOUT-work`, the synthesis for `ABOUT-synthesis`."""
    draft = {
        "text": "Let me count the ships.",
        "tool_calls": [{"name": "calculator", "arguments": {"expression": "1+1"}}],
        **held(gate, f"{about}-work"),
    }
    synthesis = {"text": "There are two ships.", **held(gate, f"{about}-synthesis")}
    researcher = {"system_contains": "You are Researcher, a member", "messages_contain": about}
    together = {"last_user_contains": "[Bring the results together]", "messages_contain": about}
    return [
        {"when": {**researcher, "step": 0}, "answer": draft},
        {"when": together, "answer": synthesis},
    ]


RULES_OF_TEAMS: list[dict[str, Any]] = [
    {"when": {"last_user_contains": "[Plan the team's work]"}, "answer": {"text": json.dumps(PLAN)}},
    {"when": {"last_user_contains": "[Review a result]"}, "answer": {"text": json.dumps(REVIEW)}},
    {"when": {"last_user_contains": "[Bring the results"}, "answer": {"text": "There are ships."}},
    {
        "when": {"system_contains": "You are Engineer, a member"},
        "answer": {"error": {"class": "bad_request", "message": "The model refused the request."}},
    },
    {"when": {"system_contains": "a member of a team led by"}, "answer": {"text": "Two ships."}},
]


class Talk:
    """A conversation over one of the two sockets. `frames` keeps everything received."""

    def __init__(self, line: Portal, surface: Surface, conversation_id: str) -> None:
        self.line = line
        self.surface = surface
        self.conversation_id = conversation_id

    @property
    def frames(self) -> list[Frame]:
        return self.line.frames

    async def say(self, content: str) -> None:
        if self.surface == "portal":
            await self.line.send(type="chat", message=content, conversation_id=self.conversation_id)
        else:
            await self.line.send(type="message", content=content)

    async def until(self, kind: str, **data: object) -> Frame:
        """The next frame of this type with these values in its data."""
        async with asyncio.timeout(TALK_SECONDS_MAX):
            return (await self.line.until(lambda frame: _is(frame, kind, data)))[-1]

    async def until_answer(self, task_id: str) -> Frame:
        """The task's final answer, as a frame or as a step; on the portal, up to its result."""
        kind = "result" if self.surface == "portal" else "final_answer"
        async with asyncio.timeout(TALK_SECONDS_MAX):
            found = await self.line.until(lambda frame: frame["type"] == kind and _task(frame) == task_id)
        return found[-1]


def _is(frame: Frame, kind: str, data: dict[str, object]) -> bool:
    return frame["type"] == kind and frame.get("data", {}).items() >= data.items()


def _task(frame: Frame) -> str | None:
    return frame.get("task_id") or frame.get("data", {}).get("task_id")


@asynccontextmanager
async def talk(service: Service, client: httpx.AsyncClient, surface: Surface) -> AsyncGenerator[Talk]:
    """A talk in a new conversation."""
    if surface == "portal":
        async with portal(service) as line:
            yield Talk(line, surface, str(uuid4()))
    else:
        session_id = await opened(client)
        async with chat(service, session_id) as line:
            yield Talk(line, surface, session_id)


def data_of(frames: Iterable[Frame], kind: str) -> list[dict[str, Any]]:
    return [frame["data"] for frame in frames if frame["type"] == kind]


def kinds(frames: Iterable[Frame]) -> list[str]:
    return [frame["type"] for frame in frames]
