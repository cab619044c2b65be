"""`minutebook minutes`: what was said and decided, from the log alone."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from click.testing import Result

from app.cli import cli
from app.commands.minutes import minutes_command
from app.core import events as ev
from app.core.envelope import NewEvent
from app.core.events import Event
from app.experts import library
from app.experts.library import ExpertLibrary
from app.gateway.scripted import ScriptedModel
from app.log.ids import new_id
from app.log.log import Log
from app.runs.roster import plain_roster
from tests.support.commands import invoke
from tests.support.runs import process

STREAM = "conversation/alice/c"
Run = Callable[..., Awaitable[Result]]
ANA = ev.ExpertCard("ana", "Ana", "A", "#222222", "Counts.")


@pytest.fixture
def run(dsn: str) -> Run:
    return partial(asyncio.to_thread, invoke, minutes_command, dsn, owner="alice")


async def hold_a_board(log: Log, rounds: int = 1) -> str:
    """A board on record; gives its task."""
    task_id = new_id()

    async def add(*payloads: Event) -> None:
        await log.append(STREAM, [NewEvent(new_id(), one, "user:alice", task_id) for one in payloads])

    asked = ev.RunRequested("m", "boats?", "assistant", "board", 1, experts=(ANA,), rounds=rounds)
    await add(ev.MessageReceived("m", "@board boats?"), asked, ev.BoardStarted("boats?", (ANA,), rounds))
    for number in range(rounds):
        await add(ev.ExpertSpoke("ana", f"speech {number}", number), ev.RoundSummarized("ana", "so", number))
    await add(ev.BoardConcluded("sum", "do it", rounds), ev.RunCompleted())
    return str(task_id)


async def test_a_board_is_printed_in_the_language_of_the_deployment(log: Log, run: Run) -> None:
    await hold_a_board(log)
    english, chinese = await run("c"), await run("c", locale="zh")
    assert english.exit_code == 0
    assert "## Board: boats? [#1]" in english.output.splitlines()
    assert "All rounds were held (1). [#6]" in english.output
    assert "## 会议：boats? [#1]" in chinese.output.splitlines()
    assert "## Board: boats? [#1]" in (await run("c", "--locale", "en", locale="zh")).output


async def test_the_json_is_one_object_with_offsets(log: Log, run: Run) -> None:
    await hold_a_board(log)
    shown = json.loads((await run("c", "--format", "json")).output)
    assert (shown["conversation_id"], shown["title"], shown["offset"]) == ("c", "boats?", 7)
    assert shown["items"][0]["rounds"][0]["speeches"][0]["offset"] == 4


async def test_one_task_of_several_is_picked(log: Log, run: Run) -> None:
    async with process(log, ScriptedModel.of("Paris")) as p:
        answered = await p.run("What is the capital of France?", conversation_id="c")
    board = await hold_a_board(log)
    both = (await run("c")).output
    assert "## Board" in both
    assert "> Paris" in both
    assert "> Paris" not in (await run("c", "--task", board)).output
    only = await run("c", "--task", answered[0].task_id, "--format", "json")
    assert [item["kind"] for item in json.loads(only.output)["items"]] == ["turn"]
    missing = await run("c", "--task", new_id())
    assert missing.exit_code == 1
    assert "There is no task" in missing.output


async def test_boards_and_teams_that_were_really_held_have_minutes(log: Log, run: Run) -> None:
    """Every speech that the model gave is in them, and what each speaker used adds up to the whole."""
    async with process(log, ScriptedModel.of("Well said.")) as p:
        roster = p.conversations.roster
        p.conversations.roster = plain_roster(roster.toolbox, experts=ExpertLibrary([library.SHIPPED]))
        board = await p.run("@board:skeptic,engineer rounds=2 boats?", conversation_id="c")
        team = await p.run("@team:writer,engineer a plan", conversation_id="c")
    shown = json.loads((await run("c", "--format", "json")).output)
    held, worked = shown["items"]
    assert (held["kind"], worked["kind"]) == ("board", "team")
    speeches = [one for held_round in held["rounds"] for one in held_round["speeches"]]
    spoke = [one for one in board if one.type == "board.expert_spoke"]
    assert [one["offset"] for one in speeches] == [one.offset for one in spoke]
    assert [held_round["number"] for held_round in held["rounds"]][-2:] == [1, 2]
    assert held["conclusion"]["total_rounds"] == 2
    for item, events in ((held, board), (worked, team)):
        assert item["ended"]["offset"] == events[-1].offset
        assert item["used"]["tokens"] == sum(one["tokens"] for one in item["used"]["by_speaker"])
        assert item["used"]["calls"] > 0
    assert [one["role"] for one in worked["present"]] == ["lead", "member"]
    text = (await run("c")).output
    assert "- 🧭 **Moderator** (moderator)" in text
    assert text.count("> Well said.") >= len(spoke)


async def test_minutes_longer_than_a_page_of_the_log_are_whole(log: Log, run: Run) -> None:
    await hold_a_board(log, rounds=600)
    shown = json.loads((await run("c", "--format", "json")).output)
    assert len(shown["items"][0]["rounds"]) == 600
    assert shown["items"][0]["ended"]["offset"] == shown["offset"] == 1_205


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "alice has no conversation 'nothing'"),
        (["c", "--owner", "bob"], "bob has no conversation 'c'"),
        (["a/b"], "printable characters"),
    ],
)
async def test_what_is_not_there_is_one_sentence(log: Log, run: Run, arguments: list[str], said: str) -> None:
    await hold_a_board(log)
    result = await run(*arguments)
    assert result.exit_code == 1
    assert said in result.output


def test_the_command_is_part_of_the_command_line() -> None:
    assert "minutes" in cli.commands
