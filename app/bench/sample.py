"""Events as the service writes them: messages of about 200 bytes, and whole runs with model calls and tools."""

import random
from collections.abc import Iterator
from uuid import UUID

from app.core.envelope import NewEvent, agent_actor, user_actor
from app.core.events import (
    Event,
    MessageAnswered,
    MessageReceived,
    ModelAnswered,
    ModelCalled,
    RunClaimed,
    RunCompleted,
    RunRequested,
    ToolCalled,
    ToolRef,
    ToolReturned,
)
from app.core.messages import ModelAnswer, ToolCall, ToolSpec, Usage
from app.log.ids import new_id

OWNER = "local"
MESSAGE_CHARS = 110
_TEXT = (
    "I would like to change my flight to New York on the 24th of May because a meeting was moved; is there "
    "a seat in economy, what does it cost with one checked bag, and can the refund go to my gift card ending "
    "in 4421? My reservation number is ZFA04Y and the passenger's name has to stay as it was booked before."
)
_TOOLS = tuple(
    ToolRef(
        ToolSpec(
            name,
            f"{name} of the benchmark: takes an expression or a query and answers with a text.",
            {
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "What is asked, in plain words"},
                    "limit": {"type": "integer", "minimum": 1, "maximum": 50},
                },
                "required": ["query"],
                "additionalProperties": False,
            },
        ),
        "pure",
        30.0,
    )
    for name in ("calculator", "clock", "search_conversations", "read_upload")
)


class Sampler:
    """Texts that differ from one another and are the same at every start."""

    def __init__(self) -> None:
        self._random = random.Random(1)
        self._words = _TEXT.split()

    def text(self, chars: int) -> str:
        words = self._random.choices(self._words, k=chars // 4)
        return " ".join(words)[:chars]

    def message(self) -> MessageReceived:
        """About 200 bytes of JSON."""
        return MessageReceived(str(new_id()), self.text(MESSAGE_CHARS))

    def messages(self, count: int) -> list[NewEvent]:
        return [NewEvent(new_id(), self.message(), user_actor(OWNER)) for _ in range(count)]

    def run(self, first_offset: int) -> list[NewEvent]:
        """One run of the mode `react` with two rounds of tools, as its fifteen events."""
        task_id, correlation_id, message_id = new_id(), new_id(), str(new_id())
        message = self.message()
        requested = RunRequested(message_id, message.content, "assistant", "react", 1, tools=_TOOLS)
        events: list[Event] = [MessageReceived(message_id, message.content), requested]
        events.append(RunClaimed("bench", 1, first_offset))
        for step in (1, 3):
            events += self._tool_round(step)
        usage = Usage(900, 60)
        answer = self.text(300)
        events += [
            ModelCalled(5, self._key()),
            ModelAnswered(5, self._key(), ModelAnswer("scripted", answer, usage=usage), 840),
            MessageAnswered(message_id, answer),
            RunCompleted(3, 2, usage + usage + usage, 2_500),
        ]
        return list(self._around(events, task_id, correlation_id))

    def _tool_round(self, step: int) -> list[Event]:
        call = ToolCall(f"call_{step}", "search_conversations", '{"query":"refund to a gift card","limit":5}')
        answer = ModelAnswer("scripted", self.text(80), tool_calls=(call,), usage=Usage(800, 40))
        return [
            ModelCalled(step, self._key()),
            ModelAnswered(step, self._key(), answer, 730),
            ToolCalled(step + 1, self._key(), call.id, call.name, call.arguments),
            ToolReturned(step + 1, self._key(), call.id, call.name, self.text(400), duration_ms=12),
        ]

    def _key(self) -> str:
        return f"{self._random.getrandbits(128):032x}"

    @staticmethod
    def _around(events: list[Event], task_id: UUID, correlation_id: UUID) -> Iterator[NewEvent]:
        cause: UUID | None = None
        for event in events:
            person = isinstance(event, MessageReceived)
            actor = user_actor(OWNER) if person else agent_actor("assistant")
            id = new_id()
            yield NewEvent(id, event, actor, None if person else task_id, cause, correlation_id)
            cause = id
