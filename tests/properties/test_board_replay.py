"""Whatever speakers and people say: a meeting sent the same again asks for the same again, and comes to an end."""

from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from app.agents.board import ROUNDS_MAX, board, calls_max, convened
from app.core.board_answers import consensus_of
from app.core.board_prompts import MATERIAL_CHARS_MAX, SYSTEM_CHARS_MAX, quoted
from app.core.events import BoardConcluded, BoardStarted, ExpertCard, RoundSummarized
from app.core.intents import (
    CallModel,
    Heard,
    Intent,
    Listen,
    ModelFailure,
    Noted,
    Outcome,
    RunStart,
    TakeMinute,
)
from app.core.messages import ChatMessage, ModelAnswer, storable
from tests.properties.test_modes_replay import strings
from tests.support.replays import Pairs, check_replay, played, stored

TUPLES_A_CALL = 20
"""Minutes and listening between two model calls are fewer."""
NAMES = ("Ada", "Ben", "Cyd", "顾问", "A\nB")
GOOD = (
    '{"summary": "s", "decision_advice": "a", "consensus_points": ["c"], '
    '"dissent_points": [{"point": "d", "who": ["Ada"]}], "votes": [{"expert": "ada", "vote": "y", "reason": ""}]}'
)

garbage = st.text(max_size=20).map(storable)  # as whatever carries out intents hands it on
texts = st.one_of(
    garbage,
    garbage,
    st.builds("{}\n{}".format, garbage, st.sampled_from(["CONSENSUS: YES", "CONSENSUS: NO", "共识：是"])),
    st.sampled_from(
        [
            " ",
            GOOD,
            f"```json\n{GOOD}\n```",
            GOOD[:-3],
            GOOD.replace('"s"', '"\\u0000"'),
            "> CONSENSUS: YES",
            "{" * 3_000,
            "x" * 30_000,
        ]
    ),
)
failures = st.builds(
    ModelFailure,
    st.sampled_from(["timeout", "interrupted", "interrupted", "budget_exceeded"]),
    st.just("No."),
    st.one_of(st.just(""), texts),
)
# Failures are rare, or most meetings would be short.
model_outcomes = st.integers(0, 11).flatmap(
    lambda n: texts.map(lambda t: ModelAnswer("m", t)) if n else failures
)
words = st.one_of(st.just(()), st.just(()), st.lists(garbage, max_size=2).map(tuple))
experts = st.lists(
    st.builds(
        ExpertCard,
        st.sampled_from([*NAMES, "x"]),
        st.sampled_from(NAMES),
        persona=garbage,
        rules=garbage,
        model=st.sampled_from([None, "big"]),
        is_moderator=st.booleans(),
        skill_prompt=garbage,
    ),
    min_size=1,
    max_size=6,
).map(tuple)
starts = st.builds(
    RunStart,
    st.text(min_size=1, max_size=40).filter(str.strip).map(storable),
    history=st.lists(st.builds(ChatMessage, st.just("user"), garbage), max_size=2).map(tuple),
    locale=st.sampled_from(["en", "zh"]),
    summary=garbage,
    experts=experts,
    rounds=st.integers(-1, 4),
)


def outcome_of(intent: Intent, data: st.DataObject) -> Outcome:
    match intent:
        case CallModel():
            return data.draw(model_outcomes)
        case TakeMinute():
            return Noted()
        case Listen():
            return Heard(data.draw(words))
        case _:
            raise AssertionError(f"a board does not ask for {intent}")


@settings(max_examples=250, deadline=None)
@given(start=starts, data=st.data())
def test_a_replay_of_any_prefix_asks_for_the_same_and_every_meeting_ends(
    start: RunStart, data: st.DataObject
) -> None:
    meeting = convened(start)
    calls_at_most = calls_max(len(meeting.present), meeting.rounds_max)
    pairs, end = played(board(start), lambda intent: outcome_of(intent, data), TUPLES_A_CALL * calls_at_most)
    check_replay(lambda: board(stored(start)), pairs, end, data.draw(st.integers(0, len(pairs))))

    intents = [intent for (intent,), _ in pairs]
    assert sum(isinstance(intent, CallModel) for intent in intents) <= calls_at_most
    notes = [intent.note for intent in intents if isinstance(intent, TakeMinute)]
    assert isinstance(notes[0], BoardStarted)
    concluded = [note for note in notes if isinstance(note, BoardConcluded)]
    event(f"{end[0]}: {concluded[0].stopped_by if concluded else 'no conclusion'}")
    assert bool(concluded) == (end[0] == "answered")
    assert not any("\0" in found for note in notes for found in strings(msgspec.to_builtins(note)))
    check_listening(intents)
    check_requests(meeting.rounds_max, intents, {card.id for card in meeting.present})
    if concluded:
        check_stop_rule(pairs, notes, concluded[0])


def check_listening(intents: list[Intent]) -> None:
    """People are listened to before each call, with nothing but the minutes of it in between, and never twice."""
    listens = [isinstance(intent, Listen) for intent in intents]
    assert not any(one and other for one, other in pairwise(listens))
    for at, intent in enumerate(intents):
        if isinstance(intent, CallModel):
            before = next(one for one in reversed(intents[:at]) if isinstance(one, Listen | CallModel))
            assert isinstance(before, Listen)


def check_requests(rounds_max: int, intents: list[Intent], present: set[str]) -> None:
    for call in (intent for intent in intents if isinstance(intent, CallModel)):
        assert call.speaker in present
        assert 1 <= call.round <= rounds_max <= ROUNDS_MAX
        assert call.purpose in ("speech", "summary", "conclusion")
        roles = [message.role for message in call.request.messages]
        assert roles in (["system", "user"], ["system", "user", "assistant", "user"])
        assert len(call.request.messages[0].content or "") <= SYSTEM_CHARS_MAX
        assert len(call.request.messages[1].content or "") <= MATERIAL_CHARS_MAX + 5_000


def check_stop_rule(pairs: Pairs, notes: list[Any], concluded: BoardConcluded) -> None:
    """Exactly what is said in the conclusion ended the meeting."""
    calls = [(intent, outcome) for (intent,), (outcome,) in pairs if isinstance(intent, CallModel)]
    spent = [
        isinstance(outcome, ModelFailure) and outcome.error_class == "budget_exceeded" for _, outcome in calls
    ]
    agreed = [note.consensus for note in notes if isinstance(note, RoundSummarized)]
    assert not any(spent[:-1]), "no call is made once the budget is used up"
    assert not any(agreed[:-1])
    assert (concluded.stopped_by == "budget") == spent[-1]
    if concluded.stopped_by == "rounds":
        assert calls[-1][0].round == notes[0].max_rounds
        assert not any(agreed)
    if concluded.stopped_by == "consensus":
        summary = next(outcome for intent, outcome in reversed(calls) if intent.purpose == "summary")
        assert isinstance(summary, ModelAnswer)
        assert consensus_of(summary.text)[1]


@given(text=st.one_of(st.text(), st.text(alphabet="\r\n\v\f\x1c\x85\u2028\u2029> a")))
@example("")
def test_quoted_text_has_no_line_that_is_not_marked_as_quoted(text: str) -> None:
    assert all(line.startswith("> ") for line in quoted(text).splitlines())


DECORATION = st.text(alphabet=" *_`", max_size=4)


@given(
    before=st.text(max_size=30).map(lambda text: f"Summary. {text}"),
    left=DECORATION,
    right=DECORATION,
    word=st.sampled_from(["CONSENSUS: YES", "Consensus: yes", "consensus : **yes**", "共识：是"]),
)
@example("Summary.", "**", "**", "CONSENSUS: YES")
def test_consensus_is_the_marker_alone_on_the_last_line(
    before: str, left: str, right: str, word: str
) -> None:
    marker = f"{left}{word}{right}"
    assert consensus_of(f"{before}\n{marker}\n") == (before.strip(), True)
    assert not consensus_of(f"{before}\n{marker} or not")[1]
    assert not consensus_of(f"{before}\n> {marker}")[1]
    assert not consensus_of(f"{before} so: {marker}")[1]
    assert not consensus_of(f"{before}\nCONSENSUS: NO\n{marker}")[1]
    assert not consensus_of(f"{before}\n{marker}\nThat is all.")[1]
    assert not consensus_of(marker)[1]
