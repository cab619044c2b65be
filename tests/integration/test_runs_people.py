"""Questions and confirmations: answered by anybody, on any node, once, before their deadline, also after a restart."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from app.core.agent import Agent
from app.core.events import RunLimits
from app.core.messages import ToolCall
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedModel, When
from app.log.log import Log, open_log
from app.runs import refused
from app.runs.accept import Accepted, Conversations
from app.runs.people import digest_of
from app.runs.roster import plain_roster
from app.tools import ask_human
from app.tools.tool import Tool, ToolContext, make_tool
from app.tools.toolbox import ToolBox
from tests.support.runs import (
    WAIT_SECONDS,
    DyingLog,
    Killed,
    NoteArguments,
    Process,
    of_type,
    process,
    task_events,
    types,
    until,
)

QUESTION = "A question that needs a person"
ASKING = ScriptedModel(
    [
        Rule(Answer(tool_calls=(ScriptedCall("ask_human", {"question": "Which colour?"}),)), When(step=0)),
        Rule(Answer(text="They said: {last_tool}")),
    ]
)
PAYING = ScriptedModel(
    [
        Rule(Answer(tool_calls=(ScriptedCall("pay", {"text": "ten euros"}),)), When(step=0)),
        Rule(Answer(text="{last_tool}")),
    ]
)


class Till:
    """A tool that moves money: once, and only with a person's consent."""

    def __init__(self) -> None:
        self.paid: list[str] = []
        self.tool: Tool = make_tool(
            "pay",
            "Pays.",
            NoteArguments,
            self._pay,
            effect="once",
            confirm=True,
            reason="It moves money.",
            command=lambda arguments: f"pay {arguments['text']}",
        )

    async def _pay(self, arguments: NoteArguments, context: ToolContext) -> str:
        self.paid.append(arguments.text)
        return f"paid {arguments.text}"


async def asked(p: Process, log: Log, kind: str) -> tuple[Accepted, asyncio.Task[None], dict[str, Any]]:
    accepted = await p.conversations.accept("alice", QUESTION, "c")
    running = p.runs.start(accepted)
    recorded = await until(log, accepted.stream, kind, accepted.task_id)
    return accepted, running, of_type([recorded], kind)[0]


async def test_a_question_is_answered_from_another_node_and_only_once(log: Log, dsn: str) -> None:
    other = await open_log(dsn, node_id="other")
    there = Conversations(other, plain_roster(ToolBox([])))
    try:
        async with process(log, ASKING, [ask_human.tool(300.0)]) as p:
            accepted, running, question = await asked(p, log, "human.asked")
            assert question["question"] == "Which colour?"
            await there.reply(accepted.stream, question["request_id"], "Red", "user:bob")
            with pytest.raises(refused.RequestNotOpen):
                await p.conversations.reply(accepted.stream, question["request_id"], "Blue", "user:eve")
            await asyncio.wait_for(running, WAIT_SECONDS)
            with pytest.raises(refused.RequestNotOpen):
                await there.reply(accepted.stream, question["request_id"], "Green", "user:eve")
    finally:
        await other.close()
    events = await task_events(log, accepted)
    assert [one["content"] for one in of_type(events, "human.answered")] == ["Red"]
    assert "Red" in of_type(events, "message.answered")[0]["content"]


async def test_a_question_survives_the_death_of_its_process(log: Log) -> None:
    tools = [ask_human.tool(300.0)]
    async with process(DyingLog(log, 8, written=False), ASKING, tools) as p:  # type: ignore[arg-type]
        accepted, running, question = await asked(p, log, "human.asked")
        await p.conversations.reply(accepted.stream, question["request_id"], "Red", "user:alice")
        with pytest.raises(Killed):
            await asyncio.wait_for(running, WAIT_SECONDS)
    async with process(log, ASKING, tools) as p:
        await asyncio.wait_for(p.runs.resume(accepted.task_id, accepted.stream), WAIT_SECONDS)
    events = await task_events(log, accepted)
    assert len(of_type(events, "human.asked")) == 1
    assert "Red" in of_type(events, "message.answered")[0]["content"]


async def test_a_run_that_waits_for_a_person_is_left_to_the_next_process_at_shutdown(log: Log) -> None:
    tools = [ask_human.tool(300.0)]
    async with process(log, ASKING, tools) as p:
        accepted, _, question = await asked(p, log, "human.asked")
    assert types(await task_events(log, accepted))[-1] == "human.asked"
    async with process(log, ASKING, tools) as p:
        running = p.runs.resume(accepted.task_id, accepted.stream)
        await p.conversations.reply(accepted.stream, question["request_id"], "Red", "user:alice")
        await asyncio.wait_for(running, WAIT_SECONDS)
    assert types(await task_events(log, accepted))[-1] == "run.completed"


async def test_nobody_answers_and_the_run_goes_on_without(log: Log) -> None:
    async with process(log, ASKING, [ask_human.tool(300.0)], deadline_seconds=0.05) as p:
        events = await p.run(QUESTION, conversation_id="c")
    assert [one["reason"] for one in of_type(events, "human.unanswered")] == ["deadline"]
    assert types(events)[-1] == "run.completed"
    request_id = of_type(events, "human.asked")[0]["request_id"]
    with pytest.raises(refused.RequestNotOpen):
        await p.conversations.reply("conversation/alice/c", request_id, "Red", "user:alice")


async def test_waiting_for_people_does_not_count_against_the_time_limit(log: Log) -> None:
    agent = Agent(limits=RunLimits(timeout_seconds=0.5))
    async with process(log, ASKING, [ask_human.tool(300.0)], agent=agent, deadline_seconds=1.2) as p:
        events = await p.run(QUESTION, conversation_id="c")
    assert types(events)[-1] == "run.completed"


async def test_a_run_that_waits_for_a_person_lends_its_slot(log: Log) -> None:
    async with process(log, ASKING, [ask_human.tool(300.0)], running_max=1) as p:
        accepted, running, question = await asked(p, log, "human.asked")
        other = await p.conversations.accept("alice", "hello", "d")
        await asyncio.wait_for(p.runs.start(other), WAIT_SECONDS)
        assert types(await task_events(log, other))[-1] == "run.completed"
        await p.conversations.reply(accepted.stream, question["request_id"], "Red", "user:alice")
        await asyncio.wait_for(running, WAIT_SECONDS)
        assert p.runs._slots._value == 1


async def test_a_call_that_needs_consent_is_shown_exactly_and_made_once_it_is_given(log: Log) -> None:
    till = Till()
    async with process(log, PAYING, [till.tool]) as p:
        accepted, running, shown = await asked(p, log, "confirmation.requested")
        assert (shown["tool"], shown["command"], shown["reason"]) == (
            "pay",
            "pay ten euros",
            "It moves money.",
        )
        assert till.paid == []
        await p.conversations.confirm(accepted.stream, shown["confirmation_id"], True, "user:alice")
        with pytest.raises(refused.RequestNotOpen):
            await p.conversations.confirm(accepted.stream, shown["confirmation_id"], True, "user:alice")
        await asyncio.wait_for(running, WAIT_SECONDS)
        events = await task_events(log, accepted)
    assert till.paid == ["ten euros"]
    call = of_type(events, "tool.called")[0]
    digest = digest_of(ToolCall(call["call_id"], call["name"], call["arguments"]))
    assert [one["digest"] for one in of_type(events, "confirmation.used")] == [digest] == [shown["digest"]]


async def test_a_refusal_is_told_to_the_model_and_nothing_is_called(log: Log) -> None:
    till = Till()
    async with process(log, PAYING, [till.tool]) as p:
        accepted, running, shown = await asked(p, log, "confirmation.requested")
        await p.conversations.confirm(accepted.stream, shown["confirmation_id"], False, "user:alice")
        await asyncio.wait_for(running, WAIT_SECONDS)
        events = await task_events(log, accepted)
    assert till.paid == []
    assert of_type(events, "tool.returned")[0]["error_class"] == "refused"
    assert "refused" in of_type(events, "message.answered")[0]["content"]
    assert of_type(events, "confirmation.used") == []


async def test_consent_that_comes_too_late_is_refused_and_counts_as_no(log: Log) -> None:
    till = Till()
    async with process(log, PAYING, [till.tool], deadline_seconds=0.05) as p:
        events = await p.run(QUESTION, conversation_id="c")
        confirmation_id = of_type(events, "confirmation.requested")[0]["confirmation_id"]
        with pytest.raises(refused.RequestNotOpen):
            await p.conversations.confirm("conversation/alice/c", confirmation_id, True, "user:alice")
    assert till.paid == []
    assert [one["reason"] for one in of_type(events, "confirmation.expired")] == ["deadline"]


@pytest.mark.parametrize(
    "request_id", ["", "x", "0" * 36, "no-uuid-but-as-long-as-one-would-be-x.1", "\x00.1"]
)
async def test_an_answer_to_nothing_is_refused(log: Log, request_id: str) -> None:
    async with process(log, ASKING) as p:
        with pytest.raises(refused.RequestNotOpen):
            await p.conversations.reply("conversation/alice/c", request_id, "Red", "user:alice")
        with pytest.raises(refused.RequestNotOpen):
            await p.conversations.confirm("conversation/alice/c", request_id, True, "user:alice")


@pytest.mark.parametrize("content", ["", " \n\t"])
async def test_an_empty_answer_is_refused_and_the_question_stays_open(log: Log, content: str) -> None:
    async with process(log, ASKING, [ask_human.tool(300.0)]) as p:
        accepted, running, question = await asked(p, log, "human.asked")
        with pytest.raises(refused.MessageEmpty):
            await p.conversations.reply(accepted.stream, question["request_id"], content, "user:alice")
        await p.conversations.reply(accepted.stream, question["request_id"], "Red", "user:alice")
        await asyncio.wait_for(running, WAIT_SECONDS)
    events = await task_events(log, accepted)
    assert [one["content"] for one in of_type(events, "human.answered")] == ["Red"]


async def test_a_question_is_no_confirmation(log: Log) -> None:
    async with process(log, ASKING, [ask_human.tool(300.0)]) as p:
        accepted, _, question = await asked(p, log, "human.asked")
        with pytest.raises(refused.RequestNotOpen):
            await p.conversations.confirm(accepted.stream, question["request_id"], True, "user:alice")
        await p.conversations.reply(accepted.stream, question["request_id"], "Red", "user:alice")


async def test_a_cancel_closes_what_is_open(log: Log) -> None:
    async with process(log, ASKING, [ask_human.tool(300.0)]) as p:
        accepted, running, question = await asked(p, log, "human.asked")
        await p.conversations.request_cancel(accepted.task_id, accepted.stream, "user:alice")
        await asyncio.wait_for(running, WAIT_SECONDS)
        with pytest.raises(refused.RequestNotOpen):
            await p.conversations.reply(accepted.stream, question["request_id"], "Red", "user:alice")
    events = await task_events(log, accepted)
    assert [one["reason"] for one in of_type(events, "human.unanswered")] == ["run_ended"]
    assert types(events)[-1] == "run.cancelled"


@pytest.mark.parametrize("written", [False, True])
async def test_killed_at_any_append_a_confirmed_call_is_never_made_twice(log: Log, written: bool) -> None:
    unknown = 0
    for kill_at in range(1, 12):
        till = Till()
        died = True
        conversation_id = f"c{kill_at}"
        async with process(DyingLog(log, kill_at, written=written), PAYING, [till.tool]) as p:  # type: ignore[arg-type]
            try:
                accepted = await Conversations(log, p.conversations.roster).accept(
                    "alice", QUESTION, conversation_id
                )
                await seen_through(log, p, accepted)
                died = False
            except Killed:
                pass
        async with process(log, PAYING, [till.tool]) as p:
            await seen_through(log, p, accepted)
        events = await task_events(log, accepted)
        assert types(events)[-1] == "run.completed"
        assert len(of_type(events, "confirmation.requested")) == 1
        assert len(till.paid) <= 1
        unknown += types(events).count("tool.effect_unknown")
        assert len(till.paid) == 1 or types(events).count("tool.effect_unknown") == 1
        if not died:
            break
    assert unknown == 1, (
        "killed where the outcome should have been written, or right behind the use of the consent"
    )


async def seen_through(log: Log, p: Process, accepted: Accepted) -> None:
    """To its end, with a person who agrees to everything."""
    agreeing = asyncio.create_task(agree(log, accepted))
    try:
        await asyncio.wait_for(p.runs.resume(accepted.task_id, accepted.stream), WAIT_SECONDS)
    finally:
        agreeing.cancel()
        await asyncio.gather(agreeing, return_exceptions=True)


async def agree(log: Log, accepted: Accepted) -> None:
    recorded = await until(log, accepted.stream, "confirmation.requested", accepted.task_id)
    confirmation_id = of_type([recorded], "confirmation.requested")[0]["confirmation_id"]
    with suppress(refused.RequestNotOpen):
        await Conversations(log, plain_roster(ToolBox([]))).confirm(
            accepted.stream, confirmation_id, True, "user:alice"
        )
