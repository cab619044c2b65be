"""What was sent to the model is rebuilt from the log alone, and compared with what the gateway really sent."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from click.testing import Result

from app.agents.modes import MODES, ModeEntry
from app.commands.prompt import lines_of, prompt_command
from app.core.agent import Agent
from app.core.envelope import NewEvent, Recorded
from app.core.events import (
    Event,
    Intervention,
    InterventionHeard,
    ModelAnswered,
    ModelAttemptFailed,
    ModelCalled,
    PhaseChanged,
    RunClaimed,
    RunLimits,
    RunRequested,
    ToolCalled,
)
from app.core.intents import (
    CallModel,
    Mode,
    RunStart,
    TakeMinute,
    ask_model,
    intent_key,
    listen,
    opening,
    take_minute,
)
from app.core.messages import ChatMessage, ModelAnswer, ModelRequest
from app.gateway.gateway import Gateway
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedError, ScriptedModel, When
from app.log.ids import new_id
from app.log.log import Log
from app.log.tasks import stream_of_task
from app.runs import prompts
from app.runs.prompts import PromptError, SentTo, rebuild
from tests.support.commands import invoke
from tests.support.runs import Notes, of_type, process

ROUNDS = [
    Rule(Answer(text="Once.", tool_calls=(ScriptedCall("calculator", {"expression": "6*7"}),)), When(step=0)),
    Rule(Answer(tool_calls=(ScriptedCall("note"), ScriptedCall("teleport"))), When(step=1)),
    Rule(Answer(text="It is {last_tool}")),
]
STREAM = "conversation/alice/c"


@pytest.fixture
def run(dsn: str) -> Callable[..., Result]:
    return partial(invoke, prompt_command, dsn)


def task_of(events: list[Recorded]) -> UUID:
    task_id = events[-1].task_id
    assert task_id is not None
    return task_id


def model_steps(events: list[Recorded]) -> list[int]:
    return [payload["step"] for payload in of_type(events, "model.called")]


async def append(log: Log, task_id: UUID, *payloads: Event) -> None:
    await log.append(STREAM, [NewEvent(new_id(), payload, "agent:a", task_id) for payload in payloads])


async def test_every_prompt_of_a_run_with_tools_is_what_was_sent(log: Log) -> None:
    model, notes = ScriptedModel(ROUNDS), Notes()
    async with process(log, model, [notes.tool]) as p:
        await p.run("Good morning", conversation_id="c")
        sent_before = len(model.requests)
        events = await p.run("What is six times seven, and note it?", conversation_id="c")
        await p.run("Later words", conversation_id="c")
    task_id, steps = task_of(events), model_steps(events)
    assert len(steps) == 3
    really_sent = list(model.requests)[sent_before:]
    for step, sent in zip(steps, really_sent, strict=False):
        assert (await rebuild(log.reader, STREAM, task_id, step)).request == sent
    last = await rebuild(log.reader, STREAM, task_id)
    assert (last.step, last.request) == (steps[-1], really_sent[2])
    assert [message.role for message in last.request.messages].count("tool") == 3
    assert {tool.name for tool in last.request.tools} >= {"calculator", "note"}


async def test_the_last_step_without_tools_is_rebuilt_too(log: Log) -> None:
    always = ScriptedModel([Rule(Answer(tool_calls=(ScriptedCall("clock"),)))])
    async with process(log, always, agent=Agent(limits=RunLimits(max_steps=3))) as p:
        events = await p.run("Loop for ever, will you?", conversation_id="c")
    rebuilt = [(await rebuild(log.reader, STREAM, task_of(events), s)).request for s in model_steps(events)]
    assert rebuilt == list(always.requests)


async def test_the_history_is_that_of_the_time(log: Log) -> None:
    model = ScriptedModel.of("Noted.")
    async with process(log, model, agent=Agent(max_history=4)) as p:
        runs = [await p.run(f"Message {n}", conversation_id="c") for n in range(5)]
    rebuilt = [
        (await rebuild(log.reader, STREAM, task_of(events), step)).request
        for events in runs
        for step in model_steps(events)
    ]
    assert rebuilt == list(model.requests)
    assert len(rebuilt) > len(runs), "older messages were summarised on the way"


async def test_a_failed_call_can_be_looked_at(log: Log) -> None:
    failing = ScriptedModel([Rule(Answer(error=ScriptedError("bad_request", "Too long.")))])
    async with process(log, failing) as p:
        events = await p.run("hi", conversation_id="c")
    prompt = await rebuild(log.reader, STREAM, task_of(events))
    assert prompt.request == failing.requests[0]
    assert prompt.outcome == "failed"
    assert (prompt.attempts[-1].error_class, prompt.attempts[-1].message) == ("bad_request", "Too long.")


async def test_through_a_fallback_chain_every_tier_was_sent_the_same(log: Log) -> None:
    main = ScriptedModel([Rule(Answer(error=ScriptedError("unauthorized", "No key.")))], name="scripted/main")
    recovery = ScriptedModel(ROUNDS, name="scripted/recovery")
    gateway = Gateway({"main": main}, "main", recovery=recovery)
    async with process(log, gateway, [Notes().tool]) as p:
        events = await p.run("What is six times seven, and note it?", conversation_id="c", model="main")
    rebuilt = [await rebuild(log.reader, STREAM, task_of(events), step) for step in model_steps(events)]
    as_asked = [msgspec.structs.replace(sent, model="main") for sent in recovery.requests]
    assert [prompt.request for prompt in rebuilt] == as_asked
    assert list(main.requests) == list(recovery.requests)
    assert rebuilt[0].attempts[-1].tier == "recovery"


def noting(start: RunStart) -> Mode:
    """Takes a minute, listens before each call and before the end."""
    messages = opening(start)
    yield from take_minute(PhaseChanged("explore"))
    while True:
        heard = yield from listen()
        messages += tuple(ChatMessage("user", text) for text in heard)
        answer = yield from ask_model(ModelRequest(messages))
        messages += (ChatMessage("assistant", answer.text),)
        more = yield from listen()
        if not more:
            return answer.text
        messages += tuple(ChatMessage("user", text) for text in more)


async def test_notes_and_what_was_heard_are_replayed(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODES, "noting", ModeEntry(1, noting))
    task_id, heard = new_id(), Intervention("m", str(new_id()), "Faster, please")
    note = TakeMinute(PhaseChanged("explore"))
    first = ModelRequest((ChatMessage("user", "go"),))
    second = ModelRequest(
        (*first.messages, ChatMessage("assistant", "one"), ChatMessage("user", "Faster, please"))
    )
    key, next_key = intent_key(CallModel(first)), intent_key(CallModel(second))
    await append(log, task_id, RunRequested("m1", "go", "a", "noting", 1), RunClaimed("w", 1, 0))
    await append(log, task_id, msgspec.structs.replace(note.note, step=1, key=intent_key(note)))
    await append(log, task_id, ModelCalled(2, key), ModelAnswered(2, key, ModelAnswer("m", "one")))
    await append(log, task_id, InterventionHeard(2, (heard,)), ModelCalled(3, next_key))

    assert (await rebuild(log.reader, STREAM, task_id, 2)).request == first
    open_call = await rebuild(log.reader, STREAM, task_id)
    assert (open_call.step, open_call.request, open_call.outcome) == (3, second, "open")
    with pytest.raises(PromptError, match=r"Step 1 is a note of the mode\. Its model calls are: 2, 3\."):
        await rebuild(log.reader, STREAM, task_id, 1)


async def test_recorded_attempts_are_told(log: Log) -> None:
    task_id, request = new_id(), ModelRequest((ChatMessage("user", "go"),))
    key = intent_key(CallModel(request))
    failed = ModelAttemptFailed(1, key, 1, "main", "openai/a", "rate_limited", "Slow down.", 5)
    answered = ModelAnswered(1, key, ModelAnswer("b-2026", "yes"), 7, 2, "recovery")
    await append(log, task_id, RunRequested("m1", "go", "a", "direct_chat", 1), RunClaimed("w", 1, 0))
    await append(log, task_id, ModelCalled(1, key), failed, answered)
    prompt = await rebuild(log.reader, STREAM, task_id)
    assert prompt.attempts == (
        SentTo(1, "main", "openai/a", "rate_limited", "Slow down.", 5),
        SentTo(2, "recovery", "b-2026", duration_ms=7),
    )
    assert (prompt.offset, prompt.answer_offset, prompt.outcome) == (3, 5, "answered")
    shown = "\n".join(lines_of(prompt))
    assert "attempt   1 (main, openai/a), 5 ms: rate_limited, Slow down." in shown
    assert "attempt   2 (recovery, b-2026), 7 ms\n" in shown


async def test_a_mode_that_asks_for_something_else_diverges_and_says_where(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with process(log, ScriptedModel(ROUNDS), [Notes().tool]) as p:
        events = await p.run("What is six times seven, and note it?", conversation_id="c")
    task_id, steps = task_of(events), model_steps(events)

    def changed(start: RunStart) -> Mode:
        mode = MODES["old"].run(start)
        intents = next(mode)
        while True:
            sent = yield tuple(
                CallModel(msgspec.structs.replace(one.request, temperature=1.0))
                if isinstance(one, CallModel) and any(m.role == "tool" for m in one.request.messages)
                else one
                for one in intents
            )
            intents = mode.send(sent)

    monkeypatch.setitem(MODES, "old", MODES["react"])
    monkeypatch.setitem(MODES, "react", ModeEntry(99, changed))
    assert (await rebuild(log.reader, STREAM, task_id, steps[0])).step == steps[0]
    with pytest.raises(PromptError, match=rf"diverged at step {steps[1]}: the mode 'react'.*has version 99"):
        await rebuild(log.reader, STREAM, task_id)
    monkeypatch.delitem(MODES, "react")
    with pytest.raises(PromptError, match="The mode 'react' of this task is not part of this release"):
        await rebuild(log.reader, STREAM, task_id)


async def test_a_mode_that_ends_too_early_diverges(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    async with process(log, ScriptedModel(ROUNDS), [Notes().tool]) as p:
        events = await p.run("What is six times seven, and note it?", conversation_id="c")

    def short(start: RunStart) -> Mode:
        answer = yield from ask_model(ModelRequest(opening(start), start.tools, start.model))
        return answer.text

    monkeypatch.setitem(MODES, "react", ModeEntry(99, short))
    with pytest.raises(PromptError, match="diverged at step 2"):
        await rebuild(log.reader, STREAM, task_of(events))


async def a_run(log: Log) -> tuple[UUID, list[ModelRequest], list[int]]:
    model = ScriptedModel(ROUNDS)
    async with process(log, model, [Notes().tool]) as p:
        events = await p.run("What is six times seven, and note it?", conversation_id="c")
    return task_of(events), list(model.requests), model_steps(events)


async def invoked(run: Callable[..., Result], *arguments: object) -> Result:
    return await asyncio.to_thread(run, *arguments)


async def test_the_command_prints_one_json_object(log: Log, run: Callable[..., Result]) -> None:
    task_id, sent, steps = await a_run(log)
    result = await invoked(run, task_id, "--step", steps[1], "--format", "json")
    shown: dict[str, Any] = json.loads(result.stdout)
    assert (result.exit_code, shown["step"], shown["stream"]) == (0, steps[1], STREAM)
    assert msgspec.convert(shown["request"], ModelRequest) == sent[1]


async def test_the_command_prints_the_conversation_to_read(log: Log, run: Callable[..., Result]) -> None:
    task_id, _, steps = await a_run(log)
    result = await invoked(run, task_id)
    assert result.exit_code == 0
    assert f"step {steps[-1]} " in result.stdout.splitlines()[0]
    assert "[user]\nWhat is six times seven, and note it?\n" in result.stdout
    assert '-> calculator {"expression":"6*7"} (call_1)' in result.stdout
    assert "[tool calculator call_1]\n6*7 = 42\n" in result.stdout
    assert "[tools]\ncalculator: " in result.stdout


async def test_a_deleted_conversation_stays_in_the_log(log: Log, run: Callable[..., Result]) -> None:
    task_id, sent, _ = await a_run(log)
    async with process(log, ScriptedModel()) as p:
        await p.conversations.delete("alice", "c")
        await p.run("New start", conversation_id="c")
    result = await invoked(run, task_id, "--format", "json")
    assert msgspec.convert(json.loads(result.stdout)["request"], ModelRequest) == sent[-1]


async def test_what_cannot_be_shown_is_said_in_a_sentence(log: Log, run: Callable[..., Result]) -> None:
    task_id, _, steps = await a_run(log)
    calls = f"Its model calls are: {', '.join(map(str, steps))}."
    nobody = uuid4()
    for arguments, words in (
        ((task_id, "--step", 2), f"Step 2 is a call of the tool calculator. {calls}"),
        ((task_id, "--step", 99), f"so none 99. {calls}"),
        ((nobody,), f"There is no task {nobody} in this log."),
    ):
        result = await invoked(run, *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert words in result.stderr
    result = await invoked(run, "not-an-id")
    assert (result.exit_code, "is not a valid UUID" in result.stderr) == (2, True)


async def test_a_task_that_has_not_called_a_model_says_so(log: Log) -> None:
    task_id = new_id()
    await append(log, task_id, RunRequested("m1", "go", "a", "react", 1))
    with pytest.raises(PromptError, match="has made no model call"):
        await rebuild(log.reader, STREAM, task_id)
    await append(log, task_id, RunClaimed("w", 1, 1), ToolCalled(1, "k", "c", "clock", "{}"))
    with pytest.raises(PromptError, match="has made no model call"):
        await rebuild(log.reader, STREAM, task_id)


async def test_a_task_is_found_by_its_id(log: Log, dsn: str) -> None:
    task_id = new_id()
    await append(log, task_id, RunRequested("m1", "go", "a", "react", 1))
    assert await stream_of_task(dsn, task_id, node_id="test") == STREAM
    assert await stream_of_task(dsn, new_id(), node_id="test") is None


def test_text_from_the_log_does_not_steer_a_terminal() -> None:
    message = ChatMessage("user", "a\x1b[2Jb\tc\nd")
    prompt = prompts.Prompt(uuid4(), STREAM, "react", 1, 1, ModelRequest((message,)))
    assert "\x1b" not in "\n".join(lines_of(prompt))
    assert "a\N{REPLACEMENT CHARACTER}[2Jb\tc\nd" in "\n".join(lines_of(prompt))
