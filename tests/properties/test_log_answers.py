"""Open answers: whoever attaches when and wherever has the text that was said, and hears nothing after its end."""

import asyncio
from contextlib import AsyncExitStack
from uuid import UUID

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.envelope import NewEvent
from app.core.events import ModelAnswered
from app.core.ids import new_id
from app.core.messages import ModelAnswer
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
        st.tuples(st.sampled_from(["restart", "append", "heard", "reopen", "yield"]), st.just("")),
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


async def play(nodes: Nodes, plan: list[Action], after_closing: bool) -> None:
    here, there = nodes.logs
    stream, answer_id = nodes.fresh(), new_id()
    head = (await here.append(stream, [make_event("question")])).last_offset
    end = head + 1 + sum(what == "append" for what, _ in plan)
    said = Said()
    history = [said]
    here.live.open(answer_id, stream=stream, task_id=None, after_offset=head)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        followers: list[Follower] = []

        async def attach(log: Log, after: int = 0) -> Follower:
            subscription = await stack.enter_async_context(
                log.subscribe(stream, after=after, heartbeat_seconds=60)
            )
            follower = Follower(subscription, history)
            followers.append(follower)
            tasks.create_task(follower.follow(answer_id, end))
            return follower

        for what, text in plan:
            match what:
                case "text" | "thinking":
                    here.live.add(answer_id, text, what)
                    setattr(said, what, getattr(said, what) + text)
                case "attach":
                    await attach(here if text == "here" else there)
                case "restart" | "reopen":
                    if what == "reopen":  # a model call that failed, and is tried again
                        await here.live.seal(answer_id)
                    here.live.open(answer_id, stream=stream, task_id=None, after_offset=head)
                    said = Said()
                    history.append(said)
                    if what == "restart":  # other nodes hear of a restart with its first text
                        here.live.add(answer_id, "r")
                        said.text = "r"
                case "append":
                    await there.append(stream, [make_event("meanwhile")])
                case "heard":
                    if said.text or said.thinking:
                        await asyncio.gather(*(follower.hears(said) for follower in followers))
                case _:
                    await asyncio.sleep(0)
        await here.live.seal(answer_id)
        closing = NewEvent(answer_id, ModelAnswered(1, "k", ModelAnswer("m", said.text, said.thinking)))
        await here.append(stream, [closing], closes=(answer_id,))
        if not after_closing:
            here.live.drop(answer_id)
        late = [await attach(log) for log in (here, there)]
        beyond = [log.subscribe(stream, after=end, heartbeat_seconds=0) for log in (here, there)]
        for subscription in beyond:
            batch = await (await stack.enter_async_context(subscription)).next()
            assert (batch.events, batch.deltas) == ([], [])
    here.live.drop(answer_id)
    assert [follower.offsets for follower in followers] == [list(range(1, end + 1))] * len(followers)
    assert [follower.has for follower in late] == [Said(), Said()]
    rows = await here._pool.fetchval("SELECT count(*) FROM open_answers WHERE answer_id = $1", answer_id)
    assert rows == 0
