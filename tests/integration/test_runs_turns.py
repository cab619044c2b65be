"""Whole turns over the real log, with a scripted model."""

from collections.abc import AsyncIterator

import msgspec

from app.core.agent import Agent
from app.core.events import RunLimits
from app.core.messages import ModelRequest
from app.core.reasons import Reason
from app.gateway.gateway import Gateway
from app.gateway.model import ModelError, ModelEvent
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedError, ScriptedModel, When
from app.log.log import Log
from app.runs.history import history, read_history
from tests.support.runs import Notes, of_type, process, stream_events, task_events, types

CALC = ScriptedCall("calculator", {"expression": "6*7"})
ASK_AND_TELL = [
    Rule(Answer(text="I compute.", tool_calls=(CALC,)), When(step=0)),
    Rule(Answer(text="It is {last_tool}"), When(step=1)),
]


async def test_small_talk_is_one_model_call_without_tools(log: Log) -> None:
    model = ScriptedModel.of("Hello!")
    async with process(log, model) as p:
        events = await p.run("hi", conversation_id="c")

    assert types(events) == [
        "message.received",
        "run.requested",
        "run.claimed",
        "model.called",
        "model.answered",
        "message.answered",
        "run.completed",
    ]
    assert of_type(events, "message.answered")[0]["content"] == "Hello!"
    assert of_type(events, "run.requested")[0]["mode"] == "direct_chat"
    assert model.requests[0].tools == ()
    assert [message.role for message in model.requests[0].messages] == ["system", "user"]


async def test_react_calls_a_tool_and_answers_from_its_result(log: Log) -> None:
    async with process(log, ScriptedModel(ASK_AND_TELL)) as p:
        events = await p.run("What is six times seven?", conversation_id="c")

    assert types(events)[2:] == [
        "run.claimed",
        "model.called",
        "model.answered",
        "tool.called",
        "tool.returned",
        "model.called",
        "model.answered",
        "message.answered",
        "run.completed",
    ]
    assert of_type(events, "tool.returned")[0]["content"] == "6*7 = 42"
    assert of_type(events, "message.answered")[0]["content"] == "It is 6*7 = 42"
    done = of_type(events, "run.completed")[0]
    assert (done["steps"], done["tool_calls"]) == (3, 1)
    assert done["usage"]["completion_tokens"] > 0
    assert [payload["step"] for payload in of_type(events, "model.called")] == [1, 3]


async def test_parallel_calls_are_one_append_and_their_results_go_back_in_order(log: Log) -> None:
    calls = tuple(ScriptedCall("calculator", {"expression": f"{n}+0"}) for n in range(3))
    model = ScriptedModel([Rule(Answer(tool_calls=calls), When(step=0)), Rule(Answer(text="done"))])
    async with process(log, model) as p:
        events = await p.run("Three sums please, all at once", conversation_id="c")

    called = [one for one in events if one.type == "tool.called"]
    assert [one.offset - called[0].offset for one in called] == [0, 1, 2]
    assert len({one.recorded_at for one in called}) == 1
    told = [message.content for message in model.requests[1].messages if message.role == "tool"]
    assert told == ["0+0 = 0", "1+0 = 1", "2+0 = 2"]


async def test_the_last_allowed_step_answers_without_tools(log: Log) -> None:
    always = ScriptedModel([Rule(Answer(text="still thinking", tool_calls=(CALC,)))])
    async with process(log, always, agent=Agent(limits=RunLimits(max_steps=3))) as p:
        events = await p.run("Loop for ever, will you?", conversation_id="c")

    assert len(of_type(events, "model.called")) == 3
    assert types(events)[-1] == "run.completed"
    assert [bool(request.tools) for request in always.requests] == [True, True, False]


async def test_wrong_arguments_and_unknown_tools_go_back_to_the_model(log: Log) -> None:
    calls = (ScriptedCall("calculator", {"formula": "1"}), ScriptedCall("teleport", {}))
    model = ScriptedModel([Rule(Answer(tool_calls=calls), When(step=0)), Rule(Answer(text="sorry"))])
    async with process(log, model) as p:
        events = await p.run("Teleport me somewhere nice", conversation_id="c")

    assert [r["error_class"] for r in of_type(events, "tool.returned")] == [
        "invalid_arguments",
        "unknown_tool",
    ]
    assert types(events)[-1] == "run.completed"


async def test_a_tool_that_the_agent_was_not_given_is_unknown_to_its_runs(log: Log) -> None:
    notes = Notes()
    model = ScriptedModel(
        [Rule(Answer(tool_calls=(ScriptedCall("note"),)), When(step=0)), Rule(Answer(text="ok"))]
    )
    async with process(log, model, [notes.tool], agent=Agent(tools=("clock",))) as p:
        events = await p.run("Take a note of this for me", conversation_id="c")

    assert of_type(events, "tool.returned")[0]["error_class"] == "unknown_tool"
    assert notes.keys == []


async def test_a_blank_answer_becomes_the_fixed_text_of_the_locale(log: Log) -> None:
    async with process(log, ScriptedModel([Rule(Answer(text=" \n "))]), locale="zh") as p:
        events = await p.run("说点什么有用的", conversation_id="c")

    answered = of_type(events, "message.answered")[0]
    assert answered["fallback"] is True
    assert answered["content"].startswith("抱歉")


class Away:
    """A model that cannot be reached."""

    name = "away"

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        raise ModelError("unreachable", Reason("model_unreachable"), transient=True)
        yield

    async def close(self) -> None: ...


async def test_why_a_model_gave_no_answer_is_told_in_the_language_of_the_task(log: Log) -> None:
    gateway = Gateway({"a": Away()}, "a", recovery=Away(), retries=0, locale="zh")  # type: ignore[arg-type,dict-item]
    async with process(log, gateway, locale="zh") as p:
        events = await p.run("说点什么有用的", conversation_id="c")

    told = [
        event["message"]
        for kind in ("model.attempt_failed", "model.failed", "run.failed")
        for event in of_type(events, kind)
    ]
    assert told == ["无法连接模型提供方。"] * 3


async def test_a_model_failure_ends_the_run_with_its_sentence_and_keeps_the_partial_text(log: Log) -> None:
    broken = Answer(
        text="half of it",
        chunk_chars=5,
        error=ScriptedError("unreachable", "The model is away."),
        error_after_chunks=1,
    )
    async with process(log, ScriptedModel([Rule(broken)])) as p:
        events = await p.run("Tell me everything about it", conversation_id="c")

    assert types(events)[-3:] == ["model.failed", "message.interrupted", "run.failed"]
    assert of_type(events, "message.interrupted")[0]["content"] == "half "
    failed = of_type(events, "run.failed")[0]
    assert (failed["error_class"], failed["message"]) == ("unreachable", "The model is away.")


async def test_an_exception_of_ours_shows_nothing_but_a_reference(log: Log) -> None:
    class Broken(ScriptedModel):
        async def stream(self, request):  # type: ignore[override]
            raise RuntimeError("secret path /etc/passwd")
            yield

    async with process(log, Broken()) as p:
        events = await p.run("Please do something for me", conversation_id="c")

    failed = of_type(events, "run.failed")[0]
    assert failed["error_class"] == "internal"
    assert "secret" not in "".join(one.payload for one in events)
    assert "internal" not in failed["message"]


async def test_an_answer_that_breaks_off_without_an_end_is_a_failure(log: Log) -> None:
    class Endless(ScriptedModel):
        async def stream(self, request):  # type: ignore[override]
            return
            yield

    async with process(log, Endless()) as p:
        events = await p.run("Please do something for me", conversation_id="c")

    assert of_type(events, "run.failed")[0]["error_class"] == "malformed_answer"


async def test_the_model_sees_the_history_and_the_override(log: Log) -> None:
    model = ScriptedModel.of("first")
    async with process(log, model, agent=Agent(system_prompt="", max_history=50)) as p:
        await p.run("My name is Ada, remember it.", conversation_id="c")
        await p.run("What is my name, please?", conversation_id="c", model="other/model")
        await p.run("Another conversation entirely", conversation_id="d")

    second, third = model.requests[1], model.requests[2]
    assert [(m.role, m.content) for m in second.messages] == [
        ("user", "My name is Ada, remember it."),
        ("assistant", "first"),
        ("user", "What is my name, please?"),
    ]
    assert second.model == "other/model"
    assert len(third.messages) == 1


async def test_every_append_of_a_run_is_under_its_lease_and_names_its_actor(log: Log) -> None:
    async with process(log, ScriptedModel(ASK_AND_TELL)) as p:
        accepted = await p.conversations.accept("alice", "What is six times seven?", "c")
        await p.runs.start(accepted)
        events = await task_events(log, accepted)

    assert {one.actor for one in events[2:]} == {"agent:assistant"}
    assert {one.actor for one in events[:2]} == {"user:alice"}
    assert len({one.correlation_id for one in events}) == 1
    by_id = {one.id: one for one in events}
    for one in events:
        if one.type in ("model.answered", "tool.returned"):
            cause = by_id[one.causation_id]  # type: ignore[index]
            assert msgspec.json.decode(cause.payload)["key"] == msgspec.json.decode(one.payload)["key"]


async def test_history_is_read_no_further_than_it_is_needed_and_is_the_same_as_a_whole_fold(log: Log) -> None:
    async with process(log, ScriptedModel(ASK_AND_TELL)) as p:
        accepted = [await p.conversations.accept("alice", f"Question number {n}", "c") for n in range(3)]
        for one in accepted:
            await p.runs.start(one)
        for n in range(40):
            accepted.append(await p.conversations.accept("alice", f"Question number {n + 3}", "c"))
            await p.runs.start(accepted[-1])
    everything = await stream_events(log, accepted[0].stream)
    for one in accepted[::5]:
        for max_history in (0, 1, 6, 50, 500):
            until = (
                next(r.offset for r in everything if r.type == "run.claimed" and r.task_id == one.task_id) - 1
            )
            read = await read_history(
                log.reader, one.stream, task_id=one.task_id, until=until, max_history=max_history
            )
            assert read == history(everything[:until], task_id=one.task_id, max_history=max_history)


async def test_the_answers_of_messages_that_were_sent_earlier_are_history(log: Log) -> None:
    model = ScriptedModel([Rule(Answer(text="about {last_user}"))])
    async with process(log, model, agent=Agent(system_prompt="")) as p:
        first, second, third = [
            await p.conversations.accept("alice", f"Message {word}", "c") for word in ("one", "two", "three")
        ]
        for one in (first, second, third):
            await p.runs.start(one)
    assert [m.content for m in model.requests[1].messages] == [
        "Message one",
        "about Message one",
        "Message two",
    ]
    assert [m.content for m in model.requests[2].messages][-3:] == [
        "Message two",
        "about Message two",
        "Message three",
    ]
