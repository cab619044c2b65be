"""What the agent modes share: acting in turns, hearing people, and requests that every provider takes."""

from collections.abc import Generator, Sequence

import msgspec

from app.core.intents import Intent, Outcome, RunStart, ToolResult, ask_model, listen, use_tools
from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, ToolCall, ToolSpec

PARALLEL_CALLS_MAX = 16
"""Tool calls of one model answer that are carried out; the model is told that the others were not."""

ARGUMENTS_SHOWN_CHARS = 500

LAST_CALL = (
    "You have used all your steps and cannot call tools any more. "
    "Answer my question now, from what you have found out so far, and say what is still unknown."
)
TOO_MANY_CALLS = (
    f"Not carried out: at most {PARALLEL_CALLS_MAX} tool calls at once. Call it again if you still need it."
)


class Acted(msgspec.Struct, frozen=True):
    """How acting ended: the answer, the messages before it, what people said meanwhile, and how many model calls."""

    text: str
    messages: tuple[ChatMessage, ...]
    heard: tuple[str, ...]
    steps: int


def act(
    start: RunStart,
    messages: tuple[ChatMessage, ...],
    *,
    steps_max: int,
    last_call: str = LAST_CALL,
    final: bool = True,
) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], Acted]:
    """Reasoning and acting in turns (`yield from`): at most `steps_max` model calls, at least one.

    The last call has no tools and is told `last_call`, unless it is the only one. People are listened to before each
    call after the first, and before the end while a call is left to answer them; whoever speaks later is answered by
    a task of their own. Whatever is wrong with a tool call goes back to the model as its result. `final`: the text is
    the run's answer; then the last call says that it can be nothing else. Raises `RunAborted`.
    """
    heard: tuple[str, ...] = ()
    listened = True  # never twice between two steps
    for step in range(1, steps_max):
        if not listened:
            said = yield from hear()
            heard, messages = heard + said, add_user(messages, *said)
        answer = yield from ask_model(request(messages, start.tools, start.model))
        listened = False
        if answer.tool_calls:
            results = yield from use_tools(answer.tool_calls[:PARALLEL_CALLS_MAX])
            messages += exchange(answer, results)
            continue
        said = yield from hear()
        if not said:
            return Acted(answer.text, messages, heard, step)
        heard, messages = heard + said, add_user(messages + spoken(answer.text), *said)
        listened = True
    if steps_max > 1:
        said = () if listened else (yield from hear())
        heard, messages = heard + said, add_user(messages, *said, last_call)
    answer = yield from ask_model(request(messages, (), start.model), final=final)
    return Acted(answer.text, messages, heard, max(1, steps_max))


def hear() -> Generator[tuple[Intent, ...], tuple[Outcome, ...], tuple[str, ...]]:
    """What people have said to the run since (`yield from`), without what is blank."""
    said = yield from listen()
    return tuple(text for text in said if text.strip())


def request(
    messages: tuple[ChatMessage, ...], tools: tuple[ToolSpec, ...], model: str | None
) -> ModelRequest:
    """A request that every provider takes: Anthropic's API refuses tool calls in the messages where no tools are
    offered ("Requests which include `tool_use` or `tool_result` blocks must define tools"), so there they are text.
    """
    return ModelRequest(messages if tools else without_tools(messages), tools, model)


def without_tools(messages: Sequence[ChatMessage]) -> tuple[ChatMessage, ...]:
    """The same conversation with every tool call and its result as a text of the user's."""
    calls: dict[str, ToolCall] = {}
    kept: tuple[ChatMessage, ...] = ()
    told = False  # whether the last one kept is a result
    for message in messages:
        if message.role == "tool":
            kept = add_user(kept, _result_text(message, calls.get(message.tool_call_id or "")))
        elif message.tool_calls:
            calls |= {call.id: call for call in message.tool_calls}
            kept += spoken(message.content or "")
        elif told and message.role == "user":
            kept = add_user(kept, message.content or "")
        else:
            kept += (message,)
        told = message.role == "tool"
    return kept


def _result_text(message: ChatMessage, call: ToolCall | None) -> str:
    name = message.name or (call.name if call else "tool")
    arguments = shortened(call.arguments, ARGUMENTS_SHOWN_CHARS) if call else ""
    return f"[Result of the tool {name}, called with {arguments or '{}'}]\n{message.content or ''}"


def add_user(messages: tuple[ChatMessage, ...], *texts: str) -> tuple[ChatMessage, ...]:
    """The conversation with these texts of the user's. They are joined to a last message that is the user's: some
    endpoints refuse two in a row."""
    added = "\n\n".join(text for text in texts if text.strip())
    if not added:
        return messages
    last = messages[-1] if messages else None
    if last is None or last.role != "user":
        return (*messages, ChatMessage("user", added))
    joined = "\n\n".join(filter(None, (last.content, added)))
    return (*messages[:-1], msgspec.structs.replace(last, content=joined))


def spoken(text: str) -> tuple[ChatMessage, ...]:
    """What the model said, as a message; nothing where it said nothing, which providers refuse."""
    return (ChatMessage("assistant", text),) if text.strip() else ()


def briefed(start: RunStart, text: str) -> RunStart:
    """The same start with this at the end of its system prompt."""
    prompt = "\n\n".join(part for part in (start.system_prompt, text) if part.strip())
    return msgspec.structs.replace(start, system_prompt=prompt)


def exchange(answer: ModelAnswer, results: Sequence[ToolResult]) -> tuple[ChatMessage, ...]:
    """What the model asked for and what it got, as messages. Providers refuse a call that has no result.

    `results` are those of the first `PARALLEL_CALLS_MAX` calls, in their order.
    """
    asked = ChatMessage(
        "assistant", answer.text or None, tool_calls=tuple(map(well_formed, answer.tool_calls))
    )
    told = tuple(ChatMessage("tool", result.content, result.name, result.call_id) for result in results)
    left_out = answer.tool_calls[PARALLEL_CALLS_MAX:]
    return (asked, *told, *(ChatMessage("tool", TOO_MANY_CALLS, call.name, call.id) for call in left_out))


def well_formed(call: ToolCall) -> ToolCall:
    """The call as it may go back to a provider: some refuse arguments that are not a JSON object."""
    return call if json_object(call.arguments) is not None else ToolCall(call.id, call.name)


def json_object(text: str) -> dict[str, object] | None:
    """The object that this JSON text is; None where it is none. What a model wrote may be anything."""
    try:
        return msgspec.json.decode(text, type=dict[str, object])
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


def shortened(text: str, chars_max: int) -> str:
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
