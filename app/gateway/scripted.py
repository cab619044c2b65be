"""A model that answers from a list of rules: for tests, demonstrations and benchmarks, in the real server.

The answer is a function of the request alone (no counter, no clock): a replay or a second process
answers alike.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Self

import msgspec

from app.core.messages import ChatMessage, ModelAnswer, ModelRequest, ToolCall, Usage
from app.gateway.model import ModelError, ModelEvent, TextDelta, ThinkingDelta

REQUESTS_KEPT = 1000
FILE_POLL_SECONDS = 0.01
FILE_WAIT_SECONDS_MAX = 60.0


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a rule asks of a request; every field that is set must hold. Case does not count in texts.

    `step` counts the model's own turns since the last user message: 0 for the first answer, 1 after one
    tool round. `tools_contain` is the name of a tool on offer; `messages_contain` may be in any message, tool
    results and the model's own included.
    """

    last_user_contains: str | None = None
    system_contains: str | None = None
    last_role: str | None = None
    step: int | None = None
    model: str | None = None
    tools_contain: str | None = None
    messages_contain: str | None = None


class ScriptedCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call to make; `{last_user}` and `{last_tool}` are filled in within the texts of `arguments`."""

    name: str
    arguments: dict[str, object] = {}


class ScriptedError(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"error_class": "class"}):
    """A failure to report, as a `ModelError` would say it."""

    error_class: str = "internal"
    message: str = "The scripted model failed."
    transient: bool = False
    retry_after_seconds: float | None = None


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What to answer. `text` and `thinking` go out in chunks of `chunk_chars` characters, thinking first.

    The answer stops after `hold_after_chunks` chunks until the file `wait_for_file` exists (at most 60 s,
    then it fails as a `timeout`). `error` is raised after `error_after_chunks` chunks. Chunks of thinking
    count too.
    """

    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    chunk_chars: int = 4
    delay_ms_per_chunk: int = 0
    wait_for_file: str | None = None
    hold_after_chunks: int = 0
    error: ScriptedError | None = None
    error_after_chunks: int = 0


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    answer: Answer
    when: When = When()


ECHO = Answer(text="You said: {last_user}")


class ScriptedModel:
    """Answers with the first rule that fits, else with `You said: …`.

    `requests` keeps the last 1000 requests. Usage is an estimate: one token per four characters, rounded up.
    """

    def __init__(self, rules: Sequence[Rule] = (), *, name: str = "scripted") -> None:
        for index, rule in enumerate(rules):
            if rule.answer.chunk_chars < 1:
                raise ValueError(
                    f"rules[{index}].answer.chunk_chars is {rule.answer.chunk_chars}: it must be 1 or more"
                )
        self._rules = tuple(rules)
        self._name = name
        self.requests: deque[ModelRequest] = deque(maxlen=REQUESTS_KEPT)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read the rules from a JSON file (a list of `Rule`).

        A `ValueError` names the file and the field that is wrong.
        """
        file = Path(path)
        try:
            rules = msgspec.json.decode(file.read_bytes(), type=tuple[Rule, ...])
        except OSError as error:
            raise ValueError(f"cannot read the script {file}: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise ValueError(f"the script {file} is not valid: {error}") from error
        return cls(rules, name=f"scripted/{file.stem}")

    @classmethod
    def of(cls, *texts: str) -> Self:
        """Answer with the first text after a user message, the second after one tool round, and so on."""
        last = len(texts) - 1
        return cls(
            [Rule(Answer(text=text), When(step=None if i == last else i)) for i, text in enumerate(texts)]
        )

    @property
    def name(self) -> str:
        return self._name

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Yield the deltas and the answer of the first rule that fits."""
        self.requests.append(request)
        answer = choose_answer(self._rules, request)
        filled = fill_answer(answer, request)
        events = chunk_events(filled)
        fail_at = min(answer.error_after_chunks, len(events))
        hold_at = min(answer.hold_after_chunks, len(events))
        for count, event in enumerate((*events, None)):
            if answer.wait_for_file is not None and count == hold_at:
                await wait_for_file(Path(answer.wait_for_file))
            if answer.error is not None and count == fail_at:
                raise as_error(answer.error)
            if event is None:
                break
            if answer.delay_ms_per_chunk:
                await asyncio.sleep(answer.delay_ms_per_chunk / 1000)
            yield event
        yield final_answer(filled, request, self._name)

    def cost_usd(self, answer: ModelAnswer) -> float | None:
        """The gateway knows prices, not the model."""
        return None

    async def load(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to release."""


def as_error(scripted: ScriptedError) -> ModelError:
    return ModelError(
        scripted.error_class,
        scripted.message,
        transient=scripted.transient,
        retry_after_seconds=scripted.retry_after_seconds,
    )


def choose_answer(rules: Sequence[Rule], request: ModelRequest) -> Answer:
    """The answer of the first rule whose conditions hold, else the echo."""
    return next((rule.answer for rule in rules if matches(rule.when, request)), ECHO)


def matches(when: When, request: ModelRequest) -> bool:
    messages = request.messages
    checks = (
        when.last_user_contains is None
        or when.last_user_contains.lower() in last_text(messages, "user").lower(),
        when.system_contains is None or when.system_contains.lower() in system_text(messages).lower(),
        when.last_role is None or (bool(messages) and messages[-1].role == when.last_role),
        when.step is None or when.step == step_of(messages),
        when.model is None or when.model == request.model,
        when.tools_contain is None or any(tool.name == when.tools_contain for tool in request.tools),
        when.messages_contain is None or any(holds(m, when.messages_contain) for m in messages),
    )
    return all(checks)


def holds(message: ChatMessage, text: str) -> bool:
    return text.lower() in (message.content or "").lower()


def step_of(messages: Sequence[ChatMessage]) -> int:
    """How many answers the model has given since the last user message."""
    count = 0
    for message in reversed(messages):
        if message.role == "user":
            break
        count += message.role == "assistant"
    return count


def last_text(messages: Sequence[ChatMessage], role: str) -> str:
    return next((m.content or "" for m in reversed(messages) if m.role == role), "")


def system_text(messages: Sequence[ChatMessage]) -> str:
    return "\n".join(m.content or "" for m in messages if m.role in ("system", "developer"))


def fill_answer(answer: Answer, request: ModelRequest) -> Answer:
    """The answer with the placeholders in its texts filled in; other braces stay as they are."""
    values = placeholders(request)
    return msgspec.structs.replace(
        answer, text=fill_text(answer.text, values), thinking=fill_text(answer.thinking, values)
    )


def fill_arguments(arguments: dict[str, object], request: ModelRequest) -> str:
    """The arguments as JSON text, with the placeholders filled in within their strings."""
    escaped = {key: msgspec.json.encode(value).decode()[1:-1] for key, value in placeholders(request).items()}
    return fill_text(msgspec.json.encode(arguments).decode(), escaped)


def placeholders(request: ModelRequest) -> dict[str, str]:
    return {
        "{last_user}": last_text(request.messages, "user"),
        "{last_tool}": last_text(request.messages, "tool"),
    }


def fill_text(template: str, values: dict[str, str]) -> str:
    """Replace each placeholder once; what a value contains is never expanded again."""
    first, *rest = values
    if not rest:
        return template.replace(first, values[first])
    others = {key: values[key] for key in rest}
    return values[first].join(fill_text(piece, others) for piece in template.split(first))


def chunk_events(answer: Answer) -> list[ModelEvent]:
    size = answer.chunk_chars
    thinking = (answer.thinking[i : i + size] for i in range(0, len(answer.thinking), size))
    text = (answer.text[i : i + size] for i in range(0, len(answer.text), size))
    return [*(ThinkingDelta(piece) for piece in thinking), *(TextDelta(piece) for piece in text)]


def final_answer(answer: Answer, request: ModelRequest, name: str) -> ModelAnswer:
    made = sum(len(message.tool_calls) for message in request.messages)
    calls = tuple(
        ToolCall(f"call_{made + index}", call.name, fill_arguments(call.arguments, request))
        for index, call in enumerate(answer.tool_calls, start=1)
    )
    prompt_chars = sum(len(message.content or "") for message in request.messages)
    answer_chars = (
        len(answer.text) + len(answer.thinking) + sum(len(c.name) + len(c.arguments) for c in calls)
    )
    return ModelAnswer(
        model=request.model or name,
        text=answer.text,
        thinking=answer.thinking,
        tool_calls=calls,
        usage=Usage(-(-prompt_chars // 4), -(-answer_chars // 4)),
        finish_reason="tool_calls" if calls else "stop",
    )


async def wait_for_file(path: Path) -> None:
    """Wait until the file exists, at most 60 s, then a `timeout`."""
    for _ in range(round(FILE_WAIT_SECONDS_MAX / FILE_POLL_SECONDS)):
        if path.exists():  # noqa: ASYNC240  # one stat of a local file
            return
        await asyncio.sleep(FILE_POLL_SECONDS)
    message = f"The script waited {FILE_WAIT_SECONDS_MAX:g} s for a file that did not appear."
    raise ModelError("timeout", message, transient=True)
