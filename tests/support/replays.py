"""Modes played by hand, and again as from a log: what is sent the same has to ask for the same."""

from collections.abc import Callable
from typing import Any

import msgspec

from app.core.intents import Intent, Mode, Outcome, RunAborted, intent_key

Pairs = list[tuple[tuple[Intent, ...], tuple[Outcome, ...]]]
End = tuple[str, str]
"""`answered` and the answer, or the class of the error and its message."""


def played(mode: Mode, outcome_of: Callable[[Intent], Outcome], tuples_max: int) -> tuple[Pairs, End]:
    pairs: Pairs = []
    try:
        intents = next(mode)
        while True:
            outcomes = tuple(outcome_of(intent) for intent in intents)
            pairs.append((intents, outcomes))
            assert len(pairs) <= tuples_max, "the mode does not come to an end"
            intents = mode.send(outcomes)
    except StopIteration as stop:
        return pairs, ("answered", stop.value)
    except RunAborted as error:
        return pairs, (error.error_class, str(error))


def check_replay(again: Callable[[], Mode], pairs: Pairs, end: End, until: int) -> None:
    """Sent these outcomes once more, and the first `until` of them, it asks for the same and ends in the same way."""
    keys = [tuple(map(intent_key, intents)) for intents, _ in pairs]
    assert replayed(again(), pairs) == (keys, end)
    assert replayed(again(), pairs[:until])[0] == keys[: until + 1]


def replayed(mode: Mode, pairs: Pairs) -> tuple[list[tuple[str, ...]], End | None]:
    """The keys of what the mode asks for when it is sent these outcomes as a log would give them back."""
    asked: list[tuple[str, ...]] = []
    try:
        intents = next(mode)
        for _, outcomes in pairs:
            asked.append(tuple(map(intent_key, intents)))
            intents = mode.send(tuple(map(stored, outcomes)))
        asked.append(tuple(map(intent_key, intents)))
    except StopIteration as stop:
        return asked, ("answered", stop.value)
    except RunAborted as error:
        return asked, (error.error_class, str(error))
    mode.close()
    return asked, None


def stored(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))
