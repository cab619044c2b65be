"""`react`: reasoning and acting in turns, until the model answers without asking for a tool.

S. Yao, J. Zhao, D. Yu, N. Du, I. Shafran, K. Narasimhan, Y. Cao: "ReAct: Synergizing Reasoning and Acting in Language
Models", ICLR 2023, arXiv:2210.03629. Thought, action and observation of the paper are here the text that precedes
the tool calls, the tool calls (several at once where the model asks for them) and their results.
"""

from app.core.acting import act
from app.core.intents import Mode, RunStart, opening

VERSION = 2


def react(start: RunStart) -> Mode:
    """At most `limits.max_steps` model calls. The last one has no tools and is told to answer from what is known.

    Whatever is wrong with a tool call goes back to the model as its result. Raises `RunAborted` where the model failed.
    """
    acted = yield from act(start, opening(start), steps_max=start.limits.max_steps)
    return acted.text
