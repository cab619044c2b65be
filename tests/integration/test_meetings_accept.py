"""Boards and teams as they are taken: who sits there, what is kept, what is refused, and what is said meanwhile."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.agents.modes import MODES, ModeEntry
from app.core.agent import Agent
from app.core.envelope import NewEvent
from app.core.events import RunClaimed, RunCompleted, RunLimits
from app.core.intents import Mode, RunStart
from app.core.texts import Locale, text
from app.experts import library as experts_library
from app.experts.library import ExpertLibrary
from app.log.ids import new_id
from app.log.log import Log
from app.runs import refused
from app.runs.accept import INTERVENTIONS_MAX, Accepted, Busy, Conversations
from app.runs.meetings import DEFAULT_BOARD, DEFAULT_TEAM, MeetingOptions, MeetingRefused, Meetings
from app.runs.roster import Roster
from app.skills import library as skill_library
from app.skills.agent_files import AgentLibrary
from app.skills.library import SkillLibrary
from app.tools import calculator, clock
from app.tools.toolbox import ToolBox
from tests.support.runs import Notes, of_type, stream_events, types

STREAM = "conversation/alice/c"
SHOWN_CHARS = 200
TOPIC = "Should we build boats?"


def silent(start: RunStart) -> Mode:
    """A mode that only has to be there."""
    yield ()
    return start.input


@pytest.fixture(autouse=True)
def modes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("board", "team_collab"):
        monkeypatch.setitem(MODES, name, ModeEntry(1, silent))


def conversations(
    log: Log,
    *,
    agent: Agent | None = None,
    busy: Busy = "queue",
    tasks_max: int = 4,
    locale: Locale = "en",
    folders: Sequence[Path] = (experts_library.SHIPPED,),
    options: MeetingOptions | None = None,
) -> Conversations:
    toolbox = ToolBox([calculator.tool(), clock.tool(), Notes(name="search").tool])
    agents = AgentLibrary((), default=agent or Agent(), known_tools=toolbox.names)
    skills = SkillLibrary([skill_library.SHIPPED], known_tools=toolbox.names)
    experts = ExpertLibrary(folders, known_skills=lambda: skills.names)
    roster = Roster(toolbox, agents, skills, Meetings(experts, skills, options), locale=locale)
    return Conversations(log, roster, busy=busy, tasks_max=tasks_max)


async def requested(log: Log, accepted: Accepted) -> dict[str, Any]:
    events = [one for one in await stream_events(log, accepted.stream) if one.task_id == accepted.task_id]
    return of_type(events, "run.requested")[0]


def ids(request: dict[str, Any]) -> list[str]:
    return [card["id"] for card in request["experts"]]


async def claim(log: Log, task_id: UUID) -> None:
    await log.append(STREAM, [NewEvent(new_id(), RunClaimed("w", 1), task_id=task_id)])


async def test_a_board_is_taken_with_its_experts_rounds_and_budgets(log: Log) -> None:
    agent = Agent(limits=RunLimits(3, 60.0, 9_000, 0.5), model="m")
    accepted = await conversations(log, agent=agent).accept(
        "alice", f"@board:Skeptic,工程师 rounds=2 {TOPIC}", "c"
    )
    request = await requested(log, accepted)

    assert types(await stream_events(log, STREAM)) == [
        "conversation.created",
        "message.received",
        "run.requested",
    ]
    assert of_type(await stream_events(log, STREAM), "message.received")[0]["content"] == f"@board {TOPIC}"
    assert (request["mode"], request["input"], request["method"], request["rounds"], request["model"]) == (
        "board",
        TOPIC,
        "prefix",
        2,
        "m",
    )
    assert "skill" not in request
    assert ids(request) == ["moderator", "skeptic", "engineer"]
    assert [card.get("is_moderator", False) for card in request["experts"]] == [True, False, False]
    limits = request["limits"]
    assert (limits["timeout_seconds"], limits["tokens_max"], limits["cost_usd_max"]) == (1_800.0, 9_000, 0.5)
    assert limits["max_steps"] > 500, "a meeting is limited by its rounds"


async def test_without_names_the_default_board_sits_for_the_configured_rounds(log: Log) -> None:
    request = await requested(log, await conversations(log).accept("alice", f"@board {TOPIC}", "c"))
    assert (ids(request), request["rounds"]) == (list(DEFAULT_BOARD), 5)
    options = MeetingOptions(("writer", "nobody", "moderator"), rounds=7, timeout_seconds=9.0)
    other = conversations(log, options=options)
    request = await requested(log, await other.accept("alice", f"@board {TOPIC}", "d"))
    assert (ids(request), request["rounds"]) == (["moderator", "writer"], 7)
    assert request["limits"]["timeout_seconds"] == 9.0
    assert other.roster.meetings.notices == ("default_board names 'nobody', but there is no such expert",)


async def test_the_first_of_a_team_leads(log: Log) -> None:
    taken = conversations(log)
    accepted = await taken.accept("alice", "@team:writer,Moderator,writer a plan", "c")
    request = await requested(log, accepted)
    assert (request["mode"], request["input"], ids(request)) == (
        "team_collab",
        "a plan",
        ["writer", "moderator"],
    )
    assert of_type(await stream_events(log, STREAM), "message.received")[0]["content"] == "@team a plan"
    assert ids(await requested(log, await taken.accept("alice", "@team a plan", "d"))) == list(DEFAULT_TEAM)


async def test_a_named_expert_who_can_moderates_and_only_one_does(log: Log, tmp_path: Path) -> None:
    (tmp_path / "chair.toml").write_text('persona = "You chair."\nis_moderator = true')
    taken = conversations(log, folders=[experts_library.SHIPPED, tmp_path])
    request = await requested(log, await taken.accept("alice", "@board:skeptic,chair,moderator x", "c"))
    assert ids(request) == ["chair", "skeptic", "moderator"]
    assert [card.get("is_moderator", False) for card in request["experts"]] == [True, False, False]


async def test_where_nobody_can_moderate_the_first_does(log: Log, tmp_path: Path) -> None:
    for name in ("ana", "bo"):
        (tmp_path / f"{name}.toml").write_text(f'persona = "{name}"')
    taken = conversations(log, folders=[tmp_path])
    request = await requested(log, await taken.accept("alice", "@board:bo,ana x", "c"))
    assert [(card["id"], card.get("is_moderator", False)) for card in request["experts"]] == [
        ("bo", True),
        ("ana", False),
    ]


async def test_experts_have_what_their_skills_say_and_no_tool_that_the_agent_was_denied(log: Log) -> None:
    """Guard: `allowed` in `Meetings.seat`, and the skills' own tools in `Meetings._card`."""
    free, bound = conversations(log), conversations(log, agent=Agent(tools=("calculator",)))
    message = "@team:writer,designer x"
    writer, designer = (await requested(log, await free.accept("alice", message, "c")))["experts"]
    assert "# Skill: writing-coach" in writer["skill_prompt"]
    assert "clock" not in writer["tools"]
    assert "calculator" not in writer["tools"], "its skill does not name it"
    assert set(designer["tools"]) == {"calculator", "clock", "search"}
    assert "skill_prompt" not in designer
    writer, designer = (await requested(log, await bound.accept("alice", message, "d")))["experts"]
    assert (writer["tools"], designer["tools"]) == ([], ["calculator"])


async def test_cards_and_refusals_speak_the_language_of_the_deployment(log: Log) -> None:
    request = await requested(
        log, await conversations(log, locale="zh").accept("alice", "@board:skeptic x", "c")
    )
    assert [card["name"] for card in request["experts"]] == ["主持人", "质疑者"]


@pytest.mark.parametrize(
    ("message", "english", "chinese"),
    [
        (
            "@board",
            ["@board:expert,expert rounds=3 topic"],
            ["命令之后没有内容", "@board:专家,专家 rounds=3 议题"],
        ),
        ("@team:writer", ["@team:expert,expert task"], ["@team:专家,专家 任务"]),
        ("@board rounds=0 x", ["rounds=0", "1 to 20", "@board:expert"], ["rounds=0", "1 到 20"]),
        ("@board rounds=100000 x", ["rounds=100000", "1 to 20"], ["rounds=100000"]),
        (f"@board:{','.join(f'n{n}' for n in range(200))} x", ["200 experts", "at most 12"], ["200", "12"]),
        (
            "@board:stratgist,engineer x",
            ["'stratgist'", "did you mean Strategist?", "@board:"],
            ["您是否指 Strategist"],
        ),
        (
            "@team:zzzz,qqqq,xxxx x",
            ["'zzzz', 'qqqq'.", "Known experts:", "@team:"],
            ["没有专家 'zzzz', 'qqqq'"],
        ),
        ("@board:moderator x", ["besides its moderator", "@board:"], ["除主持人外"]),
        ("@team rounds=2 x", ["no rounds", "@team:"], ["没有轮数"]),
        ("@board:stratgist-and-so-on,customer-advocat,x x", ["did you mean", "@board:"], ["您是否指"]),
        (f"@board:{'{x}' * 50}\0 x", ["There is no expert", "@board:"], ["没有专家"]),
    ],
)
async def test_what_calls_no_meeting_is_refused_with_the_right_form_and_nothing_is_written(
    log: Log, message: str, english: list[str], chinese: list[str]
) -> None:
    before = await log.reader.position()
    with pytest.raises(MeetingRefused) as raised:
        await conversations(log).accept("alice", message, "c")
    assert await log.reader.position() == before
    locales: tuple[tuple[Locale, list[str]], ...] = (("en", english), ("zh", chinese))
    for locale, parts in locales:
        sentence = raised.value.sentence(locale)
        assert len(sentence) < 600
        assert (
            text(f"form_{'board' if message.startswith('@board') else 'team'}", locale)
            in sentence[:SHOWN_CHARS]
        ), "sockets show no more"
        for part in parts:
            assert part in sentence


async def test_where_there_is_no_expert_at_all_a_board_is_refused(log: Log) -> None:
    with pytest.raises(MeetingRefused, match="default_board names 'moderator', 'strategist'"):
        await conversations(log, folders=()).accept("alice", "@board x", "c")


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        ("@board x", ("default_board", "'zzz', 'yyy'", "@board:")),
        ("@team x", ("default_team", "'" + "q" * 20 + "'.", "@team:")),
    ],
)
async def test_default_experts_that_are_not_there_are_named_with_their_setting(
    log: Log, message: str, parts: tuple[str, ...]
) -> None:
    options = MeetingOptions(("moderator", "zzz", "yyy", "xxx"), ("q" * 99,))
    with pytest.raises(MeetingRefused) as raised:
        await conversations(log, options=options).accept("alice", message, "c")
    locales: tuple[Locale, ...] = ("en", "zh")
    for locale in locales:
        sentence = raised.value.sentence(locale)
        assert parts[0] in sentence
        assert parts[1].rstrip(".") in sentence
        assert parts[2] in sentence[:SHOWN_CHARS], "sockets show no more"
    assert raised.value.sentence("en").startswith(f"{parts[0]} names {parts[1].rstrip('.')}, ")


async def test_a_board_that_is_asked_for_as_a_mode_is_the_same_board(log: Log) -> None:
    accepted = await conversations(log).accept("alice", f" {TOPIC}", "c", mode="board")
    request = await requested(log, accepted)
    assert (request["method"], request["input"], ids(request)) == ("requested", TOPIC, list(DEFAULT_BOARD))
    assert of_type(await stream_events(log, STREAM), "message.received")[0]["content"] == f"@board {TOPIC}"


async def test_what_imitates_a_command_is_topic(log: Log) -> None:
    topic = "x rounds=19 @team:engineer delete it @skill:terminal"
    request = await requested(log, await conversations(log).accept("alice", f"@board:skeptic {topic}", "c"))
    assert (request["mode"], request["input"], request["rounds"]) == ("board", topic, 5)
    assert ids(request) == ["moderator", "skeptic"]


@pytest.mark.parametrize("busy", ["queue", "steer", "reject"])
@pytest.mark.parametrize("command", ["@board x", "@team x"])
async def test_a_message_while_a_meeting_is_held_is_an_intervention_whatever_busy_says(
    log: Log, busy: Busy, command: str
) -> None:
    taken = conversations(log, busy=busy, tasks_max=2)
    meeting = await taken.accept("alice", command, "c")
    await claim(log, meeting.task_id)
    words = [await taken.accept("alice", f"Mind the cost, point {n}", "c") for n in range(4)]
    for word in words:
        assert (await requested(log, word))["steers"] == str(meeting.task_id)
    elsewhere = await taken.accept("alice", "Another matter", "another")
    assert "steers" not in await requested(log, elsewhere)


async def test_a_word_may_come_before_the_meeting_was_begun(log: Log) -> None:
    taken = conversations(log)
    meeting = await taken.accept("alice", "@board x", "c")
    word = await taken.accept("alice", "Mind the cost", "c")
    assert (await requested(log, word))["steers"] == str(meeting.task_id)


@pytest.mark.parametrize("command", ["@board y", "@team y", "@skill:summarize y"])
async def test_a_command_while_a_meeting_is_held_follows_the_rule_for_busy_conversations(
    log: Log, command: str
) -> None:
    meeting = await conversations(log).accept("alice", "@board x", "c")
    await claim(log, meeting.task_id)
    queued = await conversations(log).accept("alice", command, "c")
    assert "steers" not in await requested(log, queued)
    with pytest.raises(refused.ConversationBusy):
        await conversations(log, busy="reject").accept("alice", command, "c")
    steered = await conversations(log, busy="steer").accept("alice", command, "c")
    assert (await requested(log, steered))["steers"] == str(meeting.task_id)


async def test_a_meeting_that_waits_for_its_turn_hears_nothing_yet(log: Log) -> None:
    taken = conversations(log)
    first = await taken.accept("alice", "What is a boat?", "c")
    await claim(log, first.task_id)
    meeting = await taken.accept("alice", "@board x", "c")
    second = await taken.accept("alice", "And what is a ship?", "c")
    assert "steers" not in await requested(log, second)
    await log.append(STREAM, [NewEvent(new_id(), RunCompleted(), task_id=first.task_id)])
    third = await taken.accept("alice", "Mind the cost", "c")
    assert (await requested(log, third))["steers"] == str(meeting.task_id)


async def test_so_many_words_may_be_unheard_and_no_more(log: Log) -> None:
    taken = conversations(log)
    await taken.accept("alice", "@board x", "c")
    for n in range(INTERVENTIONS_MAX - 1):
        await taken.accept("alice", f"point {n}", "c")
    with pytest.raises(refused.TooManyTasks, match=str(INTERVENTIONS_MAX)):
        await taken.accept("alice", "one more", "c")


async def test_after_the_meeting_a_message_is_a_message_again(log: Log) -> None:
    taken = conversations(log)
    meeting = await taken.accept("alice", "@board x", "c")
    await claim(log, meeting.task_id)
    await log.append(STREAM, [NewEvent(new_id(), RunCompleted(), task_id=meeting.task_id)])
    assert "steers" not in await requested(log, await taken.accept("alice", "What now?", "c"))


async def test_a_word_sent_twice_is_taken_once(log: Log) -> None:
    taken = conversations(log)
    await taken.accept("alice", "@board x", "c", client_message_id="m-0")
    again = await taken.accept("alice", "@board x", "c", client_message_id="m-0")
    assert again.duplicate
    words = [await taken.accept("alice", "Mind the cost", "c", client_message_id="m-1") for _ in range(2)]
    assert [word.duplicate for word in words] == [False, True]


async def test_the_speaker_of_a_meeting_that_is_held_can_be_interrupted(log: Log) -> None:
    taken = conversations(log)
    meeting = await taken.accept("alice", "@board x", "c")
    assert not await taken.interrupt(meeting.task_id, STREAM, "user:alice"), "nobody speaks yet"
    await claim(log, meeting.task_id)
    assert await taken.interrupt(meeting.task_id, STREAM, "user:alice")
    last = (await stream_events(log, STREAM))[-1]
    assert (last.type, last.task_id, last.actor) == (
        "run.speaker_interrupted",
        meeting.task_id,
        "user:alice",
    )
    await log.append(STREAM, [NewEvent(new_id(), RunCompleted(), task_id=meeting.task_id)])
    head = await log.reader.head(STREAM)
    assert not await taken.interrupt(meeting.task_id, STREAM, "user:alice")
    assert not await taken.interrupt(new_id(), STREAM, "user:alice")
    assert not await taken.interrupt(meeting.task_id, "conversation/bob/c", "user:bob")
    assert await log.reader.head(STREAM) == head


async def test_a_run_that_is_no_meeting_is_not_interrupted(log: Log) -> None:
    taken = conversations(log)
    turn = await taken.accept("alice", "What is a boat?", "c")
    await claim(log, turn.task_id)
    assert not await taken.interrupt(turn.task_id, STREAM, "user:alice")
