"""Over a whole conversation nothing is forgotten and nothing is told twice, however it is summarised on the way."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.core import events as ev
from app.core.envelope import Recorded
from app.runs.history import history


class Stream:
    """A conversation as it is written. `words` are its messages' contents, all different."""

    def __init__(self) -> None:
        self.recorded: list[Recorded] = []
        self.words = 0

    def add(self, event: ev.Event, task_id: UUID) -> None:
        n = len(self.recorded) + 1
        at = datetime.fromtimestamp(n, UTC)
        kind, payload = ev.event_type(event), ev.encode(event)
        self.recorded.append(
            Recorded("s", n, n, 0, UUID(int=n), kind, payload, 1, "user:a", task_id, None, None, None, at)
        )

    def word(self) -> str:
        self.words += 1
        return f"w{self.words}"


def converse(groups: list[int], max_history: int, silent: set[int], *, strict: bool) -> None:
    """Groups of messages are sent at once and answered in turn; the tasks numbered in `silent` give no answer."""
    stream, known, number = Stream(), list[str](), 0
    for group in groups:
        tasks = [(UUID(int=10_000 + number + n), stream.word()) for n in range(group)]
        for task_id, word in tasks:
            stream.add(ev.MessageReceived("m", word), task_id)
            stream.add(ev.RunRequested("m", word, "assistant", "react", 1), task_id)
        for task_id, word in tasks:
            found = history(stream.recorded, task_id=task_id, max_history=max_history)
            older = [message.content or "" for message in found.unsummarized]
            shown = [message.content or "" for message in found.messages]
            told = [*found.summary.split(), *older, *shown]
            assert len(shown) <= max_history
            assert len(set(told)) == len(told), "told twice"
            assert set(told) <= set(known), "told of what was not said before"
            if strict:
                assert told == known
            if older:
                content = " ".join([*found.summary.split(), *older])
                stream.add(ev.HistorySummarized(content, found.unsummarized_until, len(older)), task_id)
            known.append(word)
            number += 1
            if number not in silent:
                known.append(answer := stream.word())
                stream.add(ev.MessageAnswered("a", answer), task_id)


@given(
    turns=st.integers(1, 60), max_history=st.integers(2, 12), silent=st.sets(st.integers(1, 60), max_size=20)
)
def test_in_turn_every_message_is_summarised_once_or_shown(
    turns: int, max_history: int, silent: set[int]
) -> None:
    converse([1] * turns, max_history, silent, strict=True)


@given(
    groups=st.lists(st.integers(1, 4), min_size=1, max_size=30),
    max_history=st.integers(2, 12),
    silent=st.sets(st.integers(1, 60), max_size=20),
)
def test_also_where_messages_overtake_answers_nothing_is_told_twice_or_too_early(
    groups: list[int], max_history: int, silent: set[int]
) -> None:
    converse(groups, max_history, silent, strict=False)
