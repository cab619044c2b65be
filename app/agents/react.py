"""`react`: reasoning and acting in turns, until the model answers without asking for a tool.

S. Yao, J. Zhao, D. Yu, N. Du, I. Shafran, K. Narasimhan, Y. Cao: "ReAct: Synergizing Reasoning and Acting in Language
Models", ICLR 2023, arXiv:2210.03629. Thought, action and observation of the paper are here the text that precedes
the tool calls, the tool calls (several at once where the model asks for them) and their results.
"""

import msgspec

from app.core.intents import Mode, RunStart, ToolResult, ask_model, opening, use_tools
from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, ToolCall

VERSION = 1
PARALLEL_CALLS_MAX = 16
"""Tool calls of one model answer that are carried out; the model is told that the others were not."""

LAST_CALL = (
    "You have used all your steps and cannot call tools any more. "
    "Answer my question now, from what you have found out so far, and say what is still unknown."
)


def react(start: RunStart) -> Mode:
    """At most `limits.max_steps` model calls. The last one has no tools and is told to answer from what is known.

    Whatever is wrong with a tool call goes back to the model as its result. Raises `RunAborted` where the model failed.
    """
    messages = opening(start)
    for _ in range(start.limits.max_steps - 1):
        answer = yield from ask_model(ModelRequest(messages, start.tools, start.model))
        if not answer.tool_calls:
            return answer.text
        results = yield from use_tools(answer.tool_calls[:PARALLEL_CALLS_MAX])
        messages += exchange(answer, results)
    last = ChatMessage("user", LAST_CALL)
    request = ModelRequest((*messages, last) if start.limits.max_steps > 1 else messages, model=start.model)
    answer = yield from ask_model(request)
    return answer.text


def exchange(answer: ModelAnswer, results: tuple[ToolResult, ...]) -> tuple[ChatMessage, ...]:
    """What the model asked for and what it got, as messages. Providers refuse a call that has no result."""
    asked = ChatMessage(
        "assistant", answer.text or None, tool_calls=tuple(map(well_formed, answer.tool_calls))
    )
    told = tuple(ChatMessage("tool", result.content, result.name, result.call_id) for result in results)
    refused = f"Not carried out: at most {PARALLEL_CALLS_MAX} tool calls at once. Call it again if you still need it."
    left_out = answer.tool_calls[PARALLEL_CALLS_MAX:]
    return (asked, *told, *(ChatMessage("tool", refused, call.name, call.id) for call in left_out))


def well_formed(call: ToolCall) -> ToolCall:
    """The call as it may go back to a provider: some refuse arguments that are not a JSON object."""
    try:
        msgspec.json.decode(call.arguments, type=dict[str, object])
    except msgspec.DecodeError:
        return ToolCall(call.id, call.name)
    return call
