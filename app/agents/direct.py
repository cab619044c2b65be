"""`direct_chat`: one model call, no tools, no loop."""

from app.core.acting import request
from app.core.intents import Mode, RunStart, ask_model, opening

VERSION = 2


def direct_chat(start: RunStart) -> Mode:
    """Asks the model once; its text is the answer. Raises `RunAborted` where the model failed for good."""
    answer = yield from ask_model(request(opening(start), (), start.model), final=True)
    return answer.text
