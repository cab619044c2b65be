"""The fallback chain: retries, tiers, and what is told of every attempt. Nothing here waits: sleep, dice and clock are
handed in."""

from collections.abc import Callable

import pytest

from app.core.messages import ModelAnswer, ModelRequest, ToolCall, Usage
from app.gateway.chain import RETRY_AFTER_SECONDS_MAX, following
from app.gateway.gateway import Gateway
from app.gateway.model import AttemptBegun, AttemptFailed, ModelEvent, TextDelta, ThinkingDelta
from app.gateway.scripted import Answer, Rule, ScriptedCall, ScriptedError, ScriptedModel
from tests.support.tiers import BUSY, HELLO, NO_KEY, Plays, Slept, attempts, chain, failed, failure, told


async def test_a_call_that_works_is_one_attempt_of_the_main_tier() -> None:
    events = await told(chain(Plays("m", "hi"), Plays("r", "other")))
    assert events == [AttemptBegun(1, "main", "m"), TextDelta("hi"), ModelAnswer("m", "hi")]


async def test_transient_failures_are_tried_again_with_growing_jittered_pauses() -> None:
    main, slept = Plays("m", BUSY, BUSY, BUSY, "at last"), Slept()
    events = await told(chain(main, retries=3, sleep=slept, chance=lambda: 0.5))
    assert attempts(events) == [
        ("begun", 1, "main", "m"),
        ("failed", 1, "main", "rate_limited"),
        ("begun", 2, "main", "m"),
        ("failed", 2, "main", "rate_limited"),
        ("begun", 3, "main", "m"),
        ("failed", 3, "main", "rate_limited"),
        ("begun", 4, "main", "m"),
    ]
    assert events[-1] == ModelAnswer("m", "at last")
    assert slept.seconds == [0.25, 0.5, 1.0]


def test_pauses_do_not_grow_without_end_and_use_the_whole_range() -> None:
    pauses = [
        again.wait_seconds
        for retried in (0, 4, 9)
        for chance in (0.0, 1.0)
        if (again := following(BUSY, retried=retried, retries=10, more_tiers=False, chance=chance))
    ]
    assert pauses == [0.0, 0.5, 0.0, 8.0, 0.0, 8.0]


async def test_after_its_retries_a_tier_hands_over_to_the_next() -> None:
    main, recovery, emergency = Plays("m", BUSY), Plays("r", BUSY), Plays("e", "here")
    slept = Slept()
    events = await told(chain(main, recovery, emergency, retries=1, sleep=slept))
    assert [row[:3] for row in attempts(events) if row[0] == "begun"] == [
        ("begun", 1, "main"),
        ("begun", 2, "main"),
        ("begun", 3, "recovery"),
        ("begun", 4, "recovery"),
        ("begun", 5, "emergency"),
    ]
    assert events[-1] == ModelAnswer("e", "here")
    assert len(slept.seconds) == 2, "a new tier is asked at once"


async def test_the_last_failure_of_the_last_tier_is_raised_and_not_told_as_an_attempt() -> None:
    gateway = chain(
        Plays("m", BUSY), Plays("r", NO_KEY), Plays("e", BUSY, failure("internal", transient=True))
    )
    seen, error = await failed(chain(Plays("m", BUSY), retries=0))
    assert (attempts(seen), error.error_class) == ([("begun", 1, "main", "m")], "rate_limited")
    seen, error = await failed(gateway)
    assert [row[0] for row in attempts(seen)] == ["begun", "failed", "begun", "failed", "begun"]
    assert error.error_class == "rate_limited"


@pytest.mark.parametrize("error_class", ["unauthorized", "not_found", "refused", "bad_request", "internal"])
async def test_what_a_retry_cannot_cure_goes_to_the_next_tier_at_once(error_class: str) -> None:
    main, slept = Plays("m", failure(error_class)), Slept()
    events = await told(chain(main, Plays("r", "yes"), retries=5, sleep=slept))
    assert (len(main.requests), slept.seconds) == (1, [])
    assert attempts(events)[1:] == [("failed", 1, "main", error_class), ("begun", 2, "recovery", "r")]


async def test_a_broken_model_is_replaced_too_and_its_details_stay_inside() -> None:
    events = await told(chain(Plays("m", [RuntimeError("secret detail")]), Plays("r", "yes")))
    told_of = [event for event in events if isinstance(event, AttemptFailed)]
    assert [(event.error_class, event.message) for event in told_of] == [("internal", "The model m failed.")]


@pytest.mark.parametrize("shown", [TextDelta("Half"), ThinkingDelta("Hm")])
async def test_once_something_was_shown_nothing_follows(shown: ModelEvent) -> None:
    recovery = Plays("r", "another text")
    seen, error = await failed(chain(Plays("m", [shown, BUSY]), recovery, retries=3))
    assert seen == [AttemptBegun(1, "main", "m"), shown]
    assert (error.error_class, recovery.requests) == ("rate_limited", [])


async def test_blank_text_alone_does_not_count_as_shown_and_is_not_lost() -> None:
    blank = [TextDelta("\n"), TextDelta(" ")]
    events = await told(chain(Plays("m", [*blank, BUSY]), Plays("r", "yes")))
    assert [event for event in events if isinstance(event, TextDelta)] == [TextDelta("yes")]
    spoken = [*blank, TextDelta("So."), ModelAnswer("m", "\n So.")]
    assert (await told(chain(Plays("m", spoken))))[1:] == spoken


async def test_an_empty_answer_is_tried_again_without_a_pause_and_costs_what_it_cost() -> None:
    empty = [TextDelta(" "), ModelAnswer("m", " ", usage=Usage(1000, 0))]
    slept = Slept()
    gateway = chain(Plays("m", empty), Plays("r", "words"), retries=1, sleep=slept, prices=[("m", 2.0, 4.0)])
    events = await told(gateway)
    assert slept.seconds == []
    assert attempts(events)[1::2] == [
        ("failed", 1, "main", "empty_answer"),
        ("failed", 2, "main", "empty_answer"),
    ]
    told_of = [event for event in events if isinstance(event, AttemptFailed)]
    assert [(event.usage, event.cost_usd) for event in told_of] == [(Usage(1000, 0), 0.002)] * 2
    assert events[-1] == ModelAnswer("r", "words")


async def test_an_empty_answer_that_nothing_follows_passes_as_it_is() -> None:
    empty = [TextDelta(" "), ModelAnswer("m", " ")]
    assert (await told(chain(Plays("m", empty))))[1:] == empty


async def test_tool_calls_without_text_are_an_answer() -> None:
    calling = ModelAnswer("m", tool_calls=(ToolCall("c", "clock"),))
    assert (await told(chain(Plays("m", [calling]), Plays("r", "no"))))[1:] == [calling]


async def test_thinking_that_ends_in_an_empty_answer_is_not_repeated() -> None:
    thought = [ThinkingDelta("Hm"), ModelAnswer("m", "", "Hm")]
    assert (await told(chain(Plays("m", thought), Plays("r", "no"), retries=1)))[1:] == thought


async def test_a_stream_that_stops_without_an_answer_is_tried_again() -> None:
    events = await told(chain(Plays("m", [], "whole"), retries=1))
    assert attempts(events)[1] == ("failed", 1, "main", "malformed_answer")
    assert events[-1] == ModelAnswer("m", "whole")


async def test_retry_after_is_waited_and_the_jitter_on_top() -> None:
    slept = Slept()
    main = Plays("m", failure("rate_limited", transient=True, after=7.0), "ok")
    await told(chain(main, retries=1, sleep=slept, chance=lambda: 0.5))
    assert slept.seconds == [7.25]


async def test_who_asks_for_too_much_patience_is_given_up() -> None:
    later = failure("rate_limited", transient=True, after=RETRY_AFTER_SECONDS_MAX + 1)
    slept = Slept()
    events = await told(chain(Plays("m", later), Plays("r", "yes"), retries=3, sleep=slept))
    assert attempts(events)[-1] == ("begun", 2, "recovery", "r")
    seen, error = await failed(chain(Plays("m", later), retries=3, sleep=slept))
    assert (len(attempts(seen)), error, slept.seconds) == (1, later, [])


async def test_a_time_out_is_only_tried_again_in_the_last_tier() -> None:
    late = failure("timeout", transient=True)
    main, recovery = Plays("m", late), Plays("r", late, "at last")
    events = await told(chain(main, recovery, retries=2))
    assert (len(main.requests), len(recovery.requests)) == (1, 2)
    assert events[-1] == ModelAnswer("r", "at last")


async def test_a_models_name_concerns_the_main_tier_only() -> None:
    main, recovery = Plays("openai/m", NO_KEY), Plays("local/r", "yes")
    gateway = Gateway({"m": main}, "m", forward_unknown=True, recovery=recovery)
    asked = ModelRequest(HELLO.messages, model="m-large")
    events = await told(gateway, asked)
    assert attempts(events)[0] == ("begun", 1, "main", "openai/m-large")
    assert (main.requests, recovery.requests) == ([asked], [HELLO])


async def test_a_name_that_nobody_knows_does_not_walk_the_chain() -> None:
    main, recovery = Plays("openai/m", failure("not_found")), Plays("local/r", "yes")
    asked = ModelRequest(HELLO.messages, model="typo")
    seen, error = await failed(Gateway({"a": main}, "a", recovery=recovery), asked)
    assert (seen, main.requests, recovery.requests, error.error_class) == ([], [], [], "not_found")
    gateway = Gateway({"m": main}, "m", forward_unknown=True, recovery=recovery)
    seen, error = await failed(gateway, asked)
    assert (len(seen), recovery.requests, error.error_class) == (1, [], "not_found")
    assert "'typo'" in str(error)
    assert (await told(gateway))[-1] == ModelAnswer("local/r", "yes"), (
        "the configured name is not the user's mistake"
    )


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def resting(main: Plays, *others: Plays) -> tuple[Gateway, Clock]:
    clock = Clock()
    return chain(main, *others, now=clock), clock


async def first_tier(gateway: Gateway, request: ModelRequest = HELLO) -> str:
    return attempts(await told(gateway, request))[0][2]


async def test_a_tier_that_keeps_failing_rests_for_a_while() -> None:
    main = Plays("m", *[NO_KEY] * 4, "well again", NO_KEY, "and again")
    gateway, clock = resting(main, Plays("r", "yes"))
    assert [await first_tier(gateway) for _ in range(4)] == ["main", "main", "main", "recovery"]
    clock.seconds = 31.0
    assert [await first_tier(gateway) for _ in range(2)] == ["main", "recovery"], "one more failure is enough"
    clock.seconds = 62.0
    assert (await told(gateway))[-1] == ModelAnswer("m", "well again")
    assert [await first_tier(gateway) for _ in range(2)] == ["main", "main"], "it counts from the start again"


async def test_the_last_tier_never_rests() -> None:
    main = Plays("m", NO_KEY)
    gateway, _ = resting(main)
    for _ in range(5):
        await failed(gateway)
    assert len(main.requests) == 5


async def test_what_a_request_is_to_blame_for_makes_no_tier_rest() -> None:
    gateway, _ = resting(Plays("m", failure("bad_request")), Plays("r", "yes"))
    assert [await first_tier(gateway) for _ in range(5)] == ["main"] * 5


async def test_a_model_that_a_request_picks_has_nothing_to_do_with_rests() -> None:
    main, other = Plays("m", NO_KEY), Plays("o", NO_KEY, NO_KEY, NO_KEY, "fine")
    models = {"main": main, "other": other}
    gateway = Gateway(models, "main", recovery=Plays("r", "yes"), now=Clock())
    picked = ModelRequest(HELLO.messages, model="other")
    for _ in range(3):
        await told(gateway, picked)
    assert await first_tier(gateway) == "main"
    for _ in range(3):
        await told(gateway)
    assert (await told(gateway, picked))[-1] == ModelAnswer("o", "fine")


async def test_only_the_main_model_is_loaded_and_each_is_closed_once() -> None:
    main, shared = Plays("m", "hi"), Plays("s", "hi")
    gateway = Gateway({"main": main}, "main", recovery=shared, emergency=shared)
    assert gateway.name == "m, then s, then s"
    await gateway.load()
    await gateway.close()
    assert [(model.loaded, model.closed) for model in (main, shared)] == [(1, 1), (0, 1)]


SCRIPTS: list[tuple[Callable[[], ScriptedModel], list[str]]] = [
    (lambda: ScriptedModel([Rule(Answer(tool_calls=(ScriptedCall("clock"),)))]), ["main"]),
    (lambda: ScriptedModel([Rule(Answer(error=ScriptedError("refused", "No.")))]), ["main", "recovery"]),
    (
        lambda: ScriptedModel(
            [
                Rule(
                    Answer(
                        error=ScriptedError("rate_limited", "Slow.", transient=True, retry_after_seconds=1)
                    )
                )
            ]
        ),
        ["main", "main", "recovery"],
    ),
]


@pytest.mark.parametrize(("make", "tiers"), SCRIPTS)
async def test_scripted_models_can_be_tiers(make: Callable[[], ScriptedModel], tiers: list[str]) -> None:
    gateway = Gateway(
        {"a": make()}, "a", recovery=ScriptedModel.of("b"), retries=1, sleep=Slept(), chance=lambda: 0.0
    )
    events = await told(gateway)
    assert [event.tier for event in events if isinstance(event, AttemptBegun)] == tiers
