"""A board and a team: what the person does, and what everybody says. The gate of the conversation holds both until the
person's word is in the log, so that where it is heard is not left to chance."""

from typing import Any

import msgspec

from tests.kills.client import Client
from tests.kills.tools import GATE

WORD = "Mind the cost."

EXPERTS = {"chair": "Cora", "counter": "Ada", "builder": "Bert"}
"""Names by id. The first moderates, or leads."""
BOARD = "@board:chair,counter,builder rounds=3 Shall there be ships?"
TEAM = "@team:chair,counter,builder There shall be ships."


async def sits_on_a_board(client: Client) -> None:
    """Says something while the first expert speaks in round 1, and lets that one finish then."""
    turn = client.begin(BOARD)
    await client.sees("model.called", number=2)
    word = client.begin(WORD)
    await client.sees("run.requested", number=2)
    client.open_gate()
    await turn
    await word


async def calls_a_team(client: Client) -> None:
    """Says something while the lead waits for the second phase, whose member listens for it. The first, which goes on
    at the same time, has ended by then."""
    turn = client.begin(TEAM)
    await client.sees("run.child_awaited", number=2)
    word = client.begin(WORD)
    await client.sees("run.requested", number=4)
    client.open_gate()
    await turn
    await word


CONCLUSION = {
    "summary": "Ships are wanted.",
    "decision_advice": "Build one.",
    "consensus_points": ["Ships float."],
    "dissent_points": [{"point": "Too dear", "who": ["Bert"]}],
    "votes": [],
}
PLAN = {
    "phases": [
        {"id": "p1", "name": "Count", "task": "Count the ships.", "owner": "Ada"},
        {"id": "p2", "name": "Design", "task": "Draw a ship.", "owner": "Bert"},
    ],
    "risks": [{"risk": "Little time", "severity": "high"}],
}
REVIEW = {"accepted": True, "comment": "Good.", "risks": []}


def said(text: object, *calls: tuple[str, str], **when: str) -> dict[str, Any]:
    """The rule of an answer; other than a text is said as JSON. Calls are of a tool with a text."""
    shown = text if isinstance(text, str) else msgspec.json.encode(text).decode()
    called = [{"name": name, "arguments": {"text": told}} for name, told in calls]
    return {"when": when, "answer": {"text": shown, "tool_calls": called}}


def board_rules() -> list[dict[str, Any]]:
    """Ada's first speech stops in the middle; Bert fails in round 2, which ends in consensus."""
    ada, bert = ({"system_contains": f"You are {name}, an expert at a board"} for name in ("Ada", "Bert"))
    held = {"text": "They float, I say.", "chunk_chars": 5, "hold_after_chunks": 2, "wait_for_file": GATE}
    broken = {"error": {"class": "bad_request", "message": "The model refused the request."}}
    rules = [
        said(CONCLUSION, last_user_contains="Draw its conclusion"),
        said("All agree.\nCONSENSUS: YES", last_user_contains="Sum up round 2"),
        said("Two views.\nCONSENSUS: NO", last_user_contains="Sum up round"),
        said("Welcome.", last_user_contains="Open the meeting"),
        said("I mind it.", last_user_contains="It is your turn", messages_contain=WORD),
        said("I heard of nothing.", last_user_contains="It is your turn"),
    ]
    return [
        {"when": {**ada, "last_user_contains": "your turn in round 1 of"}, "answer": held},
        {"when": {**bert, "last_user_contains": "your turn in round 2 of"}, "answer": broken},
        *({**one, "when": {**one["when"], "system_contains": "at a board meeting"}} for one in rules),
    ]


def team_rules() -> list[dict[str, Any]]:
    """Ada uses a tool that may not be repeated, Bert one that waits for a word."""
    ada, bert = (f"You are {name}, a member of a team" for name in ("Ada", "Bert"))
    return [
        said(PLAN, last_user_contains="[Plan the team's work]"),
        said(REVIEW, last_user_contains="[Review a result]"),
        said("Cheap ships.", last_user_contains="[Bring the results", messages_contain=WORD),
        said("Ships.", last_user_contains="[Bring the results"),
        said("Counted: {last_tool}", system_contains=ada, last_role="tool"),
        said("", ("pay", "for a count"), system_contains=ada),
        said("Drawn, and minded.", system_contains=bert, messages_contain=WORD),
        said("", ("listen", "for a word"), system_contains=bert, last_role="user"),
        said("Drawn.", system_contains=bert),
    ]


RULES = [*board_rules(), *team_rules()]
