"""`operation`: one call of a long-running tool that goes on as a task by itself. No model."""

from app.core.intents import CallTool, Mode, RunAborted, RunStart, ToolResult
from app.core.messages import ToolCall

VERSION = 1
CALL_ID = "operation"


def operation(start: RunStart) -> Mode:
    """`input` is the call's arguments as JSON text, `tools` the one tool. The answer is what the tool said.

    Raises `RunAborted` with the tool's error class and text where it failed.
    """
    (tool,) = start.tools
    (outcome,) = yield (CallTool(ToolCall(CALL_ID, tool.name, start.input)),)
    if not isinstance(outcome, ToolResult):
        raise TypeError("a tool call was sent the outcome of something else")
    if outcome.error_class is not None:
        raise RunAborted(outcome.error_class, outcome.content)
    return outcome.content
