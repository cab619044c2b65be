"""Taking messages: what is written, what is refused before anything is, and that a message sent twice is taken once."""

import asyncio

import msgspec
import pytest

from app.core.agent import Agent
from app.core.streams import InvalidConversationId
from app.gateway.scripted import ScriptedModel
from app.log.log import Log
from app.runs import refused
from app.runs.accept import Conversations
from app.runs.meetings import MeetingRefused
from app.runs.roster import plain_roster
from app.tools import calculator
from app.tools.toolbox import ToolBox
from app.transfer.adding import add_messages
from tests.support.runs import StuckModel, of_type, process, stream_events, task_events, types

QUESTION = "What is the capital of France?"


@pytest.fixture
def conversations(log: Log) -> Conversations:
    return Conversations(log, plain_roster(ToolBox([calculator.tool()])))


async def test_a_first_message_creates_the_conversation_in_the_same_append(
    log: Log, conversations: Conversations
) -> None:
    accepted = await conversations.accept("alice", QUESTION, "c", sources=["a.txt"], model="m")
    events = await stream_events(log, "conversation/alice/c")

    assert types(events) == ["conversation.created", "message.received", "run.requested"]
    assert (accepted.created, accepted.duplicate, accepted.offset) == (True, False, 3)
    assert accepted.position == events[-1].position
    assert [one.task_id for one in events] == [None, accepted.task_id, accepted.task_id]
    requested = of_type(events, "run.requested")[0]
    assert (requested["mode"], requested["model"], requested["sources"]) == ("react", "m", ["a.txt"])
    assert [tool["spec"]["name"] for tool in requested["tools"]] == ["calculator"]
    assert (
        requested["message_id"] == accepted.message_id == of_type(events, "message.received")[0]["message_id"]
    )


async def test_a_further_message_does_not_create_it_again(log: Log, conversations: Conversations) -> None:
    await conversations.accept("alice", QUESTION, "c")
    second = await conversations.accept("alice", QUESTION, "c")
    assert not second.created
    assert types(await stream_events(log, second.stream)).count("conversation.created") == 1


async def test_two_first_messages_at_once_create_it_once(log: Log, conversations: Conversations) -> None:
    both = await asyncio.gather(*(conversations.accept("alice", f"{QUESTION} {n}", "c") for n in range(4)))
    assert sum(one.created for one in both) == 1
    assert types(await stream_events(log, both[0].stream)).count("conversation.created") == 1


async def test_without_an_id_every_message_opens_a_conversation_of_its_own(
    conversations: Conversations,
) -> None:
    first, second = [await conversations.accept("alice", QUESTION) for _ in range(2)]
    assert first.conversation_id != second.conversation_id
    assert first.created
    assert second.created


@pytest.mark.parametrize("conversation_id", ["c", None])
async def test_the_same_client_message_id_is_taken_once(
    log: Log, conversations: Conversations, conversation_id: str | None
) -> None:
    sent = [
        await conversations.accept("alice", QUESTION, conversation_id, client_message_id="m-1")
        for _ in range(3)
    ]
    assert len({one.task_id for one in sent}) == 1
    assert [one.duplicate for one in sent] == [False, True, True]
    assert [one.created for one in sent] == [True, False, False]
    assert {one.offset for one in sent} == {3}
    assert len(await stream_events(log, sent[0].stream)) == 3


async def test_a_client_message_id_stays_taken_after_the_settings_have_changed(
    log: Log, conversations: Conversations
) -> None:
    await conversations.accept("alice", "Hello? Is this an earlier message", "c")
    first = await conversations.accept("alice", QUESTION, "c", client_message_id="m-1")
    changed = Conversations(log, plain_roster(ToolBox([]), Agent(system_prompt="another")))
    second = await changed.accept("alice", QUESTION, "c", client_message_id="m-1")
    assert second.duplicate
    assert (second.task_id, second.offset, second.position) == (first.task_id, first.offset, first.position)


async def test_a_client_message_id_for_another_message_is_refused(conversations: Conversations) -> None:
    await conversations.accept("alice", QUESTION, "c", client_message_id="m-1")
    with pytest.raises(refused.ClientMessageIdReused, match="'m-1'"):
        await conversations.accept("alice", "Something else", "c", client_message_id="m-1")
    with pytest.raises(refused.ClientMessageIdInvalid, match="201"):
        await conversations.accept("alice", QUESTION, "c", client_message_id="x" * 201)


@pytest.mark.parametrize("given", ["\0", "a\0b", "\ud83d"])
async def test_a_client_message_id_that_cannot_be_kept_is_told_so(
    log: Log, conversations: Conversations, given: str
) -> None:
    before = await log.reader.position()
    added = msgspec.Raw(b'{"role":"user","content":"x"}')
    with pytest.raises(refused.ClientMessageIdInvalid, match="surrogate") as asked:
        await conversations.accept("alice", QUESTION, "c", client_message_id=given)
    with pytest.raises(refused.ClientMessageIdInvalid, match="surrogate") as put:
        await add_messages(log, "alice", "c", [added], client_id=given)
    for raised in (asked, put):
        assert repr(given) in raised.value.sentence("zh")
        assert "characters, this one has" not in raised.value.sentence("en")
    assert await log.reader.position() == before


async def test_the_same_client_message_id_twice_at_once_starts_one_task(log: Log) -> None:
    async with process(log, ScriptedModel.of("Paris")) as p:
        both = await asyncio.gather(
            *(p.conversations.accept("alice", QUESTION, "c", client_message_id="m-1") for _ in range(2))
        )
        await asyncio.gather(*(p.runs.start(one) for one in both))
        events = await task_events(log, both[0])
    assert types(events).count("run.completed") == 1
    assert types(events).count("model.called") == 1


@pytest.mark.parametrize(
    ("message", "options", "error"),
    [
        ("  \n", {}, refused.MessageEmpty),
        ("x" * 300_000, {}, refused.MessageTooLong),
        ("\x01" * 60_000, {}, refused.MessageTooLong),
        ("@board what now", {}, MeetingRefused),
        ("@team: a,b do it", {}, MeetingRefused),
        ("@skill:nope do it", {}, refused.SkillUnknown),
        (QUESTION, {"skill_name": "nope"}, refused.SkillUnknown),
        (QUESTION, {"conversation_id": "a/b"}, InvalidConversationId),
    ],
)
async def test_what_is_refused_leaves_nothing_in_the_log(
    log: Log, conversations: Conversations, message: str, options: dict[str, str], error: type[Exception]
) -> None:
    before = await log.reader.position()
    with pytest.raises(error):
        await conversations.accept("alice", message, **{"conversation_id": "c", **options})
    assert await log.reader.position() == before


async def test_more_runs_than_may_wait_are_refused(log: Log) -> None:
    model = StuckModel()
    async with process(log, model, running_max=1, pending_max=1) as p:
        for n in range(2):
            p.runs.start(await p.conversations.accept("alice", QUESTION, str(n)))
        with pytest.raises(refused.TooManyRuns) as raised:
            await p.conversations.accept("alice", QUESTION, "3")
        assert await log.reader.head("conversation/alice/3") == 0
    assert raised.value.sentence("zh").startswith("已有 1 个任务")


async def test_what_postgres_cannot_hold_is_replaced(log: Log, conversations: Conversations) -> None:
    accepted = await conversations.accept("alice", "a\0b \ud83d c \ud83d\ude00", "c")
    received = of_type(await stream_events(log, accepted.stream), "message.received")[0]
    assert received["content"] == "a\ufffdb \ufffd c 😀"
