"""What is run and killed: a conversation of each kind, what the scripted model says in it, and what the person does."""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tests.kills.client import Client
from tests.kills.meetings import RULES as MEETING_RULES
from tests.kills.meetings import calls_a_team, sits_on_a_board

Rules = list[dict[str, Any]]
Play = Callable[[Client], Awaitable[None]]


class Scenario(msgspec.Struct, frozen=True):
    """`play` is what the person does. `mode`: of the table. `once`: the run calls a tool that may not be repeated.

    `keys`: digests of what is asked for are the same in every run; not where ids or offsets are part of it. `settings`:
    of the process.
    """

    name: str
    mode: str
    play: Play
    once: bool = False
    keys: bool = True
    settings: tuple[tuple[str, str], ...] = ()


def says(*texts: str, skill: str = "") -> Play:
    """Messages, each sent when the one before is answered."""

    async def play(client: Client) -> None:
        for text in texts:
            await client.say(f"@skill:{skill} {text}" if skill else text)

    return play


async def answers_a_question(client: Client) -> None:
    turn = client.begin("please ask me")
    asked = await client.sees("human.asked")
    await client.reply(asked, "blue")
    await turn


async def agrees(client: Client) -> None:
    turn = client.begin("please send it")
    asked = await client.sees("confirmation.requested")
    await client.confirm(asked, approved=True)
    await turn


async def refuses(client: Client) -> None:
    turn = client.begin("please send it")
    asked = await client.sees("confirmation.requested")
    await client.confirm(asked, approved=False)
    await turn


async def steers(client: Client) -> None:
    turn = client.begin("please listen to me")
    await client.sees("tool.called", number=2)
    steering = client.begin("steer: be brief")
    await client.sees("run.requested", number=2)
    client.open_gate()
    await turn
    await steering


async def queues(client: Client) -> None:
    turns = [client.begin("please wait for me")]
    await client.sees("tool.called")
    for number in (2, 3):
        turns.append(client.begin(f"message {number} of the queue"))
        await client.sees("run.requested", number=number)
    client.open_gate()
    for turn in turns:
        await turn


async def cancels(client: Client) -> None:
    turn = client.begin("please wait for me")
    called = await client.sees("tool.called")
    await client.cancel(called)
    await turn


def operates(what: str) -> Play:
    async def play(client: Client) -> None:
        await client.say(f"please {what} it")
        await client.sees("operation.finished")
        await client.say("what has come of it?")

    return play


SCENARIOS = (
    Scenario("direct_chat", "direct_chat", says("hello")),
    Scenario(
        "history",
        "direct_chat",
        says("hello", "good morning", "thanks"),
        keys=False,
        settings=(("max_history", "2"),),
    ),
    Scenario("react", "react", says("please work on it"), once=True),
    Scenario("skill_react", "skill_react", says("please work on it", skill="kills-skill"), once=True),
    Scenario("plan_exec", "plan_exec", says("please work on it", skill="kills-plan"), once=True),
    Scenario("rewoo", "rewoo", says("please work on it", skill="kills-rewoo"), once=True),
    Scenario("reflexion", "reflexion", says("please work on it", skill="kills-reflexion"), once=True),
    Scenario("operation", "operation", operates("build"), keys=False),
    Scenario("operation, once", "operation", operates("ship"), once=True, keys=False),
    Scenario("question", "react", answers_a_question),
    Scenario("consent", "react", agrees, once=True),
    Scenario("refusal", "react", refuses),
    Scenario("queue", "react", queues),
    Scenario("cancel", "react", cancels),
    Scenario("steered", "react", steers, settings=(("busy", "steer"),)),
    Scenario("board", "board", sits_on_a_board),
    Scenario("team", "team", calls_a_team, once=True),
)

SKILLS = {
    "kills-skill": "skill_react",
    "kills-plan": "plan_exec",
    "kills-rewoo": "rewoo",
    "kills-reflexion": "reflexion",
}


def rule(text: str = "", *calls: tuple[str, dict[str, str]], **when: Any) -> dict[str, Any]:
    called = [{"name": name, "arguments": arguments} for name, arguments in calls]
    return {"when": when, "answer": {"text": text, "tool_calls": called}}


def within(skill: str, *rules: dict[str, Any]) -> Rules:
    return [{**one, "when": {**one["when"], "system_contains": f"Skill: {skill}"}} for one in rules]


def tool(name: str, text: str) -> tuple[str, dict[str, str]]:
    return name, {"text": text}


SUM = ("calculator", {"expression": "6*7"})
PLAN = """Plan: a product
#E1 = calculator[{"expression": "6*7"}]
Plan: a note
#E2 = note[{"text": "first"}]
Plan: a payment
#E3 = pay[{"text": "evidence"}]
Plan: a thought
#E4 = LLM[think about #E1]
Plan: all together
#E5 = note[{"text": "#E1 and #E2 and #E3"}]"""

RULES: Rules = [
    *MEETING_RULES,
    *within(
        "kills-rewoo",
        rule(PLAN, last_user_contains="first write a plan"),
        rule("Solved: {last_user}", last_user_contains="was found out for this request"),
        rule("Thought of it.", last_user_contains="think about"),
    ),
    *within(
        "kills-reflexion",
        rule(
            "VERDICT: ACCEPT", last_user_contains="Check of your answer", messages_contain="The second answer"
        ),
        rule("VERDICT: REVISE\nPay first.", last_user_contains="Check of your answer"),
        rule("", tool("note", "second"), SUM, last_user_contains="did not pass", step=0),
        rule("The second answer: {last_tool}", last_user_contains="did not pass"),
        rule("", tool("pay", "attempt"), tool("note", "first"), step=0),
        rule("The first answer: {last_tool}"),
    ),
    *within(
        "kills-plan",
        rule("", tool("pay", "planned"), tool("note", "planned"), last_user_contains="[Phase 3", step=0),
        rule("Done: {last_tool}", last_user_contains="[Phase 3"),
        rule("Verified: {last_tool}", last_user_contains="[Phase 4"),
        rule("Looking.", SUM, tool("pay", "too early"), step=0),
        rule("", ("advance_phase", {"summary": "seen"}), step=1),
        rule("The plan.", step=2),
    ),
    *within(
        "kills-skill",
        rule("", SUM, tool("note", "skilled"), step=0),
        rule("", tool("pay", "skilled"), step=1),
        rule("By the skill: {last_tool}"),
    ),
    rule("The minutes: {last_user}", system_contains="You keep the minutes"),
    rule(
        "Working.",
        SUM,
        tool("note", "one"),
        tool("pay", "parallel"),
        last_user_contains="please work",
        step=0,
    ),
    rule("", tool("note", "after {last_tool}"), last_user_contains="please work", step=1),
    rule("The result: {last_tool}", last_user_contains="please work"),
    rule("", ("ask_human", {"question": "Which colour?"}), SUM, last_user_contains="please ask", step=0),
    rule("Painted. {last_tool}", last_user_contains="please ask"),
    rule("", tool("send", "a letter"), last_user_contains="please send", step=0),
    rule("Sent? {last_tool}", last_user_contains="please send"),
    rule("", tool("build", "a house"), last_user_contains="please build", step=0),
    rule("It goes on.", last_user_contains="please build"),
    rule("", tool("ship", "a house"), last_user_contains="please ship", step=0),
    rule("It goes on.", last_user_contains="please ship"),
    rule("It was built.", last_user_contains="what has come", messages_contain="build: a house"),
    rule("It was shipped.", last_user_contains="what has come", messages_contain="ship: a house"),
    rule("It is not known.", last_user_contains="what has come", messages_contain="not known whether"),
    rule("It still goes on.", last_user_contains="what has come"),
    rule("Short: {last_tool}", last_user_contains="steer: be brief"),
    rule("", tool("note", "unheard"), last_user_contains="please listen", step=0),
    rule("", tool("listen", "for you"), last_user_contains="please listen", step=1),
    rule("Long: {last_tool}", last_user_contains="please listen"),
    rule("", tool("deliver", "for you"), last_user_contains="please deliver", step=0),
    rule("Delivered: {last_tool}", last_user_contains="please deliver"),
    rule("", tool("grow", "for you"), last_user_contains="please grow", step=0),
    rule("It grows.", last_user_contains="please grow"),
    rule("", tool("wait", "for you"), last_user_contains="please wait", step=0),
    rule("Waited: {last_tool}", last_user_contains="please wait"),
]
