"""A run that is killed at any append and taken up again leaves the same log as one that was left alone."""

import asyncio
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedError, ScriptedModel, When
from app.log.log import Log
from tests.support.runs import DyingLog, Killed, Notes, normal, of_type, process, run_killed, task_events

QUESTION = "A question that is not small talk"

calls = st.sampled_from(
    [
        ScriptedCall("calculator", {"expression": "2**10"}),
        ScriptedCall("calculator", {"expression": "1/0"}),
        ScriptedCall("calculator", {"nonsense": 1}),
        ScriptedCall("clock", {"timezone": "Asia/Shanghai"}),
        ScriptedCall("note", {"text": "after {last_tool}"}),
        ScriptedCall("teleport", {}),
    ]
)
rounds = st.lists(st.lists(calls, min_size=1, max_size=3), max_size=3)
endings = st.sampled_from(
    [
        Answer(text="The end: {last_tool}", thinking="hm"),
        Answer(text="  "),
        Answer(
            text="broken off",
            chunk_chars=3,
            error=ScriptedError("timeout", "Too slow."),
            error_after_chunks=2,
        ),
    ]
)


def scripted(asked: list[list[ScriptedCall]], ending: Answer) -> ScriptedModel:
    rules = [
        Rule(Answer(text=f"round {n}", tool_calls=tuple(called)), When(step=n))
        for n, called in enumerate(asked)
    ]
    return ScriptedModel([*rules, Rule(ending)])


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=rounds, ending=endings)
async def test_killed_at_any_append_a_run_ends_as_if_nothing_had_happened(
    log: Log, asked: list[list[ScriptedCall]], ending: Answer
) -> None:
    whole, undisturbed = await disturbed(log, asked, ending, [])
    appends = len({one.position for one in whole})  # an upper limit: several events may be one append
    for kill_at in range(1, appends + 1):
        for written in (False, True):
            events, keys = await disturbed(log, asked, ending, [(kill_at, written)])
            assert normal(events) == normal(whole), f"killed at append {kill_at}, written: {written}"
            assert len(set(keys)) == len(set(undisturbed))
            assert len({one.id for one in events}) == len(events)


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=rounds, ending=endings, kills=st.lists(st.tuples(st.integers(1, 4), st.booleans()), max_size=8))
async def test_killed_again_and_again_a_run_still_ends_the_same(
    log: Log, asked: list[list[ScriptedCall]], ending: Answer, kills: list[tuple[int, bool]]
) -> None:
    whole, _ = await disturbed(log, asked, ending, [])
    events, _ = await disturbed(log, asked, ending, kills)
    assert normal(events) == normal(whole)


async def disturbed(log: Log, asked: list[list[ScriptedCall]], ending: Answer, kills: list[tuple[int, bool]]):
    """The task's events, and the idempotency keys that the tool `note` was handed."""
    notes = Notes("idempotent")
    model = scripted(asked, ending)
    async with process(log, model, [notes.tool]) as p:
        accepted = await p.conversations.accept("alice", QUESTION, str(uuid4()))
    await run_killed(
        log, model, [notes.tool], accepted, [DyingLog(log, n, written=written) for n, written in kills]
    )
    return await task_events(log, accepted), notes.keys


async def test_a_once_tool_whose_outcome_is_not_recorded_is_never_called_again(log: Log) -> None:
    unknown = 0
    for kill_at in range(1, 9):
        for written in (False, True):
            notes = Notes("once")
            model = scripted([[ScriptedCall("note", {"text": "pay"})]], Answer(text="{last_tool}"))
            async with process(log, model, [notes.tool]) as p:
                accepted = await p.conversations.accept("alice", QUESTION, str(uuid4()))
            await run_killed(log, model, [notes.tool], accepted, [DyingLog(log, kill_at, written=written)])
            events = await task_events(log, accepted)

            assert len(notes.keys) <= 1
            (returned,) = of_type(events, "tool.returned")
            if returned.get("error_class") == "effect_unknown":
                unknown += 1
                assert of_type(events, "message.answered")[0]["content"].startswith("It is not known whether")
            else:
                assert len(notes.keys) == 1
    # Killed when the outcome should have been written, and after the intent was.
    assert unknown == 2


async def test_what_was_said_since_a_run_began_does_not_change_its_replay(log: Log) -> None:
    conversation_id, notes = str(uuid4()), Notes("pure")
    model = scripted([[ScriptedCall("note")]], Answer(text="{last_tool}"))
    async with process(log, model, [notes.tool]) as p:
        first = await p.conversations.accept("alice", QUESTION, conversation_id)
    async with process(DyingLog(log, 5, written=True), model, [notes.tool]) as p:  # type: ignore[arg-type]
        with pytest.raises(Killed):
            await p.runs.start(first)
    async with process(log, model, [notes.tool]) as p:
        second = await p.conversations.accept("alice", QUESTION, conversation_id)
        await asyncio.gather(p.runs.start(second), p.runs.resume(first.task_id, first.stream))
    for one in (first, second):
        assert (await task_events(log, one))[-1].type == "run.completed"
    assert [message.role for message in model.requests[-1].messages].count("assistant") == 2, (
        "the first's answer"
    )
