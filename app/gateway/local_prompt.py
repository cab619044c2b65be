"""Prompts for SmolLM2 in its own chat format (ChatML), and what fits of a conversation. Pure.

Source of the format: the chat template in the model's GGUF file (`tokenizer.chat_template`).
"""

from collections.abc import Iterable, Sequence

import msgspec

from app.core.messages import ChatMessage, ToolSpec
from app.gateway.local_tools import concept_of, properties_of, text_argument

NONE = "none"
SYSTEM = "You are a helpful AI assistant. Answer in English, in short sentences."
SYSTEM_SHARE = 4
CHARS_PER_TOKEN = 3
CUT = "\n[…]\n"
RESULT_CHARS_SHORT = 80
TALK = ("Hello!", "Write a poem about a mountain.", "Who was Napoleon?", "Thank you, that is all.")
THOUGHT_EXAMPLES = (
    ("user", "calculator: What is 4 plus 6?"),
    ("assistant", "I use the calculator to add 4 and 6."),
    ("user", "clock: Which day is it in Paris?"),
    ("assistant", "I use the clock to look up the day in Paris."),
)
RESULT_EXAMPLES = (
    ("user", "What is 2 + 3?\nTool result: 5"),
    ("assistant", "2 + 3 is 5."),
    ("user", "What day is it?\nTool result: Monday, 4 May 2020"),
    ("assistant", "It is Monday, 4 May 2020."),
)

Turn = tuple[str, str]


def chatml(turns: Iterable[Turn]) -> str:
    """The turns (role, text) as one prompt that ends where the assistant is to speak.

    Marks of the format within a text are broken up, so that no message can play another role.
    """
    parts = [f"<|im_start|>{role}\n{text.replace('<|', '< |')}<|im_end|>\n" for role, text in turns]
    return "".join(parts) + "<|im_start|>assistant\n"


def choice_prompt(tool: ToolSpec, message: str) -> str:
    """Ask for one word: the tool's name or "none"."""
    about = tool.description.strip().rstrip(".")[:120]
    concept = concept_of(tool)
    asks = concept.asks if concept else (about,)
    turns: list[Turn] = [
        (
            "system",
            "You choose a tool for each message. Reply with one word.\n"
            f"{tool.name}: {about}\n{NONE}: anything else, such as talk, stories and questions",
        )
    ]
    for index, talk in enumerate(TALK):
        turns += [("user", talk), ("assistant", NONE)]
        turns += [("user", ask) for ask in asks[index : index + 1]]
        turns += [("assistant", tool.name) for _ in asks[index : index + 1]]
    return chatml([*turns, ("user", message)])


def choice_grammar(tool: ToolSpec) -> str:
    name = tool.name.replace("\\", "\\\\").replace('"', '\\"')
    return f'root ::= "{name}" | "{NONE}"'


def arguments_prompt(tool: ToolSpec, message: str) -> str:
    """Ask for the arguments of the tool as JSON, with examples where its kind is known."""
    described = ", ".join(
        f"{name} ({schema.get('description', schema.get('type', 'any'))})"
        for name, schema in properties_of(tool).items()
    )
    turns: list[Turn] = [("system", f"Fill in the JSON arguments of {tool.name}: {described}.")]
    concept, name = concept_of(tool), text_argument(tool)
    for asked, value in concept.fills if concept and name else ():
        turns += [("user", asked), ("assistant", f'{{"{name}": "{value}"}}')]
    return chatml([*turns, ("user", message)])


def thought_prompt(tool: ToolSpec, message: str) -> str:
    """Ask what the tool is needed for: one sentence in the model's own words, shown as its thinking."""
    system = f"Say in one short sentence what you do with the tool for the message. {tool.name}: {tool.description}"
    return chatml([("system", system[:300]), *THOUGHT_EXAMPLES, ("user", f"{tool.name}: {message}")])


def result_prompt(messages: Sequence[ChatMessage], chars_max: int) -> str:
    """Ask for the final answer from the tool results that end the conversation."""
    result = last_result(messages)[:chars_max]
    question = next((m.content or "" for m in reversed(messages) if m.role == "user"), "")[:chars_max]
    if not is_short(result):
        system = "You are a helpful assistant. Answer from the information given."
        return chatml([("system", system), ("user", f"Information:\n{result}\n\n{question}")])
    system = "Answer the question with the tool result. Keep it to one sentence."
    return chatml([("system", system), *RESULT_EXAMPLES, ("user", f"{question}\nTool result: {result}")])


def result_grammar(messages: Sequence[ChatMessage]) -> str | None:
    """For a short result: a grammar of one sentence that quotes it and says no more; else None.

    Left free, the model changes numbers (measured: 5 of 28 sums that a calculator had got right).
    """
    result = last_result(messages)
    if not is_short(result):
        return None
    quoted = result.replace("\\", "\\\\").replace('"', '\\"')
    opening = '"The answer is " | "It is " | "The " [A-Za-z ]{1,40} " is "'
    return f'root ::= ({opening}) "{quoted}" "."?'


def last_result(messages: Sequence[ChatMessage]) -> str:
    """The texts of the tool messages that end the conversation; of an object with one value, the value."""
    results: list[str] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        results.insert(0, unwrapped((message.content or "").strip()))
    return "\n".join(results) or "nothing"


def unwrapped(result: str) -> str:
    try:
        values = list(msgspec.json.decode(result, type=dict[str, str | int | float]).values())
    except msgspec.MsgspecError:
        return result
    return str(values[0]) if len(values) == 1 else result


def is_short(result: str) -> bool:
    return 0 < len(result) <= RESULT_CHARS_SHORT and not set(result) & set("{}[]\n")


def cut(text: str, chars_max: int, *, beginning: float = 1 / 3) -> str:
    """The beginning (this share of it) and the end of a text that is too long: what it is about, and what is newest
    and asked for."""
    if len(text) <= chars_max:
        return text
    left = max(0, chars_max - len(CUT))
    first = int(left * beginning)
    return text[:first] + CUT + text[len(text) - (left - first) :]


def chat_prompt(messages: Sequence[ChatMessage], chars_max: int, *, cut_last: bool = False) -> str:
    """The conversation as far as `chars_max` reaches: system texts (cut to a quarter), then the newest messages.

    The last message is always there in full, even where it alone is longer; with `cut_last` its middle is left out.
    """
    system = "\n".join(m.content or "" for m in messages if m.role in ("system", "developer")).strip()
    system = (system or SYSTEM)[: chars_max // SYSTEM_SHARE]
    turns = [turn for message in messages for turn in chat_turn(message)]
    if cut_last and turns:
        role, text = turns[-1]
        turns[-1] = (role, cut(text, chars_max - len(system)))
    kept: list[Turn] = turns[-1:]
    used = len(system) + sum(len(text) for _, text in kept)
    for turn in reversed(turns[:-1]):
        used += len(turn[1])
        if used > chars_max:
            break
        kept.insert(0, turn)
    return chatml([("system", system), *kept])


def chat_turn(message: ChatMessage) -> list[Turn]:
    text = message.content or message.refusal or ""
    match message.role:
        case "system" | "developer":
            return []
        case "assistant":
            return [("assistant", text)] if text else []
        case "tool":
            return [("user", f"Tool result: {text}")]
        case "user":
            return [("user", text)]
