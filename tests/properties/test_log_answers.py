"""Open answers: whoever attaches when and wherever has the text that was said, and hears nothing after its end."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.envelope import NewEvent
from app.core.events import ModelAnswered
from app.core.messages import ModelAnswer
from app.log.ids import new_id
from app.log.log import Log
from app.log.subscribe import Subscription
from tests.support.events import make_event
from tests.support.nodes import Nodes

Action = tuple[str, str]

actions = st.lists(
    st.one_of(
        st.tuples(st.just("text"), st.text("abc", min_size=1, max_size=5)),
        st.tuples(st.just("thinking"), st.text("xyz", min_size=1, max_size=5)),
        st.tuples(st.just("attach"), st.sampled_from(["here", "there"])),
        st.tuples(st.sampled_from(["restart", "append", "heard", "heard", "reopen", "yield"]), st.just("")),
    ),
    max_size=12,
)


class Said(msgspec.Struct):
    text: str = ""
    thinking: str = ""


class Follower:
    """Applies what a subscription gives, as a client would."""

    def __init__(self, subscription: Subscription, history: list[Said]) -> None:
        self.has = Said()
        self.offsets: list[int] = []
        self._subscription = subscription
        self._history = history
        self._changed = asyncio.Condition()
        self._closed = False

    async def follow(self, answer_id: UUID, end: int) -> None:
        """Until offset `end`, checking that what it has is always a beginning of something that was being said."""
        while not self.offsets or self.offsets[-1] < end:
            batch = await self._subscription.next()
            for recorded in batch.events:
                self.offsets.append(recorded.offset)
                self._closed |= recorded.id == answer_id
            for delta in batch.deltas:
                assert not self._closed, "a delta after the event that closes the answer"
                assert delta.answer_id == answer_id
                had = "" if delta.reset else getattr(self.has, delta.kind)
                setattr(self.has, delta.kind, had + delta.text)
                self._check(delta.kind)
            async with self._changed:
                self._changed.notify_all()

    def _check(self, kind: str) -> None:
        mine = getattr(self.has, kind)
        assert any(getattr(said, kind).startswith(mine) for said in self._history), mine

    async def hears(self, said: Said) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self.has == said)


@settings(max_examples=40)
@given(plan=actions, after_closing=st.booleans())
def test_every_reader_has_what_was_said(nodes: Nodes, plan: list[Action], after_closing: bool) -> None:
    nodes.run(play(nodes, plan, after_closing))


class Conversation:
    """One answer in one stream, spoken on one node, with followers on both."""

    def __init__(self, nodes: Nodes, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        self.here, self.there = nodes.logs
        self.stream, self.answer_id = nodes.fresh(), new_id()
        self.followers: list[Follower] = []
        self.head = self.end = 0
        self._stack = stack
        self._tasks = tasks
        self._said = Said()
        self._history = [self._said]

    async def begin(self, plan: list[Action]) -> None:
        self.head = (await self.here.append(self.stream, [make_event("question")])).last_offset
        self.end = self.head + 1 + sum(what == "append" for what, _ in plan)
        self._open()

    def _open(self) -> None:
        self.here.live.open(self.answer_id, stream=self.stream, task_id=None, after_offset=self.head)

    async def attach(self, log: Log) -> Follower:
        subscription = await self._stack.enter_async_context(log.subscribe(self.stream, heartbeat_seconds=60))
        follower = Follower(subscription, self._history)
        self.followers.append(follower)
        self._tasks.create_task(follower.follow(self.answer_id, self.end))
        return follower

    async def act(self, what: str, text: str) -> None:
        match what:
            case "text" | "thinking":
                self.here.live.add(self.answer_id, text, what)
                setattr(self._said, what, getattr(self._said, what) + text)
            case "attach":
                await self.attach(self.here if text == "here" else self.there)
            case "restart":
                self._restart()
            case "reopen":  # a model call that failed, and is tried again
                await self.here.live.seal(self.answer_id)
                self._restart()
            case "append":
                await self.there.append(self.stream, [make_event("meanwhile")])
            case "heard":
                if self._said.text or self._said.thinking:
                    await asyncio.gather(*(follower.hears(self._said) for follower in self.followers))
            case _:
                await asyncio.sleep(0)

    def _restart(self) -> None:
        self._open()
        self.here.live.add(self.answer_id, "r")  # other nodes hear of a restart with its first text
        self._said = Said("r")
        self._history.append(self._said)

    async def close(self) -> None:
        await self.here.live.seal(self.answer_id)
        answer = ModelAnswer("m", self._said.text, self._said.thinking)
        closing = NewEvent(self.answer_id, ModelAnswered(1, "k", answer))
        await self.here.append(self.stream, [closing], closes=(self.answer_id,))

    async def check_nothing_more_is_said(self) -> None:
        for log in (self.here, self.there):
            async with log.subscribe(self.stream, after=self.end, heartbeat_seconds=0) as beyond:
                batch = await beyond.next()
                assert (batch.events, batch.deltas) == ([], [])


async def play(nodes: Nodes, plan: list[Action], after_closing: bool) -> None:
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        talk = Conversation(nodes, stack, tasks)
        await talk.begin(plan)
        for log in nodes.logs:
            await talk.attach(log)
        for what, text in plan:
            await talk.act(what, text)
        await talk.act("heard", "")
        await talk.close()
        if not after_closing:
            talk.here.live.drop(talk.answer_id)
        late = [await talk.attach(log) for log in nodes.logs]
        await talk.check_nothing_more_is_said()
    talk.here.live.drop(talk.answer_id)
    offsets = list(range(1, talk.end + 1))
    assert all(follower.offsets == offsets for follower in talk.followers)
    assert [follower.has for follower in late] == [Said(), Said()]
    rows = "SELECT count(*) FROM open_answers WHERE answer_id = $1"
    assert await talk.here._pool.fetchval(rows, talk.answer_id) == 0
