"""Who answers: an agent's name, prompt, tools and limits."""

import msgspec

from app.core.events import PhasePolicy, RunLimits

DEFAULT_PROMPT = (
    "You are a helpful assistant. Answer in the language of the user, briefly and to the point. "
    "Use the tools for arithmetic, for the present time, for what was said in earlier conversations and for "
    "attached files; never guess what a tool can find out. Say so where you do not know something."
)


class Agent(msgspec.Struct, frozen=True):
    """`tools` None: every tool there is. `max_history`: how many of the newest messages the model is shown; what is
    older is summarised. `mode`: what answers where neither a prefix nor small talk decides. `model` None: the default.
    `lessons`: how many past experiences a new task is shown, at most.
    """

    name: str = "assistant"
    system_prompt: str = DEFAULT_PROMPT
    tools: tuple[str, ...] | None = None
    limits: RunLimits = RunLimits()
    max_history: int = 50
    mode: str = "react"
    model: str | None = None
    phases: tuple[PhasePolicy, ...] = ()
    description: str = ""
    lessons: int = 0
