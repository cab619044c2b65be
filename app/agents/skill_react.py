"""`skill_react`: ReAct within a skill. The skill's prompt and tools come with the run.

What a skill says at the top of a long prompt is forgotten behind the details of the prompt, the history and the tool
results. So the goal is taken out of the prompt and said again where it counts: at the end of the system prompt, and at
the last call, when no more tools can be called and models fall back to a general answer.
"""

import re

from app.core.acting import LAST_CALL, act, briefed, shortened
from app.core.intents import Mode, RunStart, opening

VERSION = 1
GOAL_CHARS_MAX = 400

FIRST_CALL = """You are at work on one skill. Its goal: {goal}

Before you act, decide what in the request this goal asks for and which tools the skill needs for it{tools}. Follow \
the skill's steps and give the answer in the form that it asks for, in the language of the user. Do not answer from \
memory what a tool of the skill can find out. If the request has nothing to do with the skill, say so in one sentence \
and help as well as you can."""
LAST_CALL_OF_SKILL = "{last_call} Keep to the goal of the skill ({goal}) and to the form that it asks for."

_GOAL = re.compile(r"^[^\w\n]*goal[^\w\n]*[:：][^\w\n]*(\w.*)$", re.IGNORECASE | re.MULTILINE)


def skill_react(start: RunStart) -> Mode:
    """Like `react`, reminded of the skill's goal. Raises `RunAborted` where the model failed."""
    steps_max = start.limits.max_steps
    goal = goal_of(start.system_prompt)
    if not goal:
        return (yield from act(start, opening(start), steps_max=steps_max)).text
    tools = f" ({', '.join(tool.name for tool in start.tools)})" if start.tools else ""
    reminded = briefed(start, FIRST_CALL.format(goal=goal, tools=tools))
    last_call = LAST_CALL_OF_SKILL.format(last_call=LAST_CALL, goal=goal)
    acted = yield from act(start, opening(reminded), steps_max=steps_max, last_call=last_call)
    return acted.text


def goal_of(prompt: str) -> str:
    """What a skill is for: its line `Goal: …`, else its first paragraph that is no heading. At most 400 characters."""
    # The agent's own prompt comes first and may have a goal too.
    _, heading, skill = prompt.rpartition("# Skill:")
    if named := _GOAL.search(skill if heading else prompt):
        return shortened(named[1].strip(), GOAL_CHARS_MAX)
    for paragraph in re.split(r"\n\s*\n", prompt):
        lines = (line.strip() for line in paragraph.splitlines())
        if plain := " ".join(line for line in lines if line and not line.startswith("#")):
            return shortened(plain, GOAL_CHARS_MAX)
    return ""
