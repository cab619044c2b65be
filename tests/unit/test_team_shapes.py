"""What a model that keeps to the shape of a plan or review can write: always one that passes."""

from typing import Any, cast

import msgspec
import pytest

from app.core.intents import CallModel
from app.core.meeting_events import ExpertCard, TeamPhase
from app.core.team_plan import PHASES_MAX, parse_plan, parse_review
from app.core.team_shapes import SMALL_PHASES, plan_shape, review_shape
from tests.support.teams import ACCEPT, EXPERTS, plan_of, play

FOUR = tuple(ExpertCard(name.lower(), name) for name in ("Ada", "Bob", "Cy", "Dee"))
KEPT = tuple(TeamPhase(id, id, "x", "ada") for id in ("P1", "look", "p3"))


def filled(schema: dict[str, Any]) -> Any:
    """The first value that the schema allows, with every text the same."""
    match schema:
        case {"const": value}:
            return value
        case {"enum": [first, *_]}:
            return first
        case {"type": "boolean"}:
            return False
        case {"type": "string"}:
            return "Words"
        case {"prefixItems": items}:
            return [filled(one) for one in items]
        case {"type": "array"}:
            return []
        case {"properties": properties}:
            return {name: filled(value) for name, value in properties.items()}
        case _:
            raise AssertionError(f"nothing known of {schema}")


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("kept", [(), KEPT])
def test_every_plan_of_the_small_shape_is_valid_and_has_two_phases_at_once(
    size: int, kept: tuple[TeamPhase, ...]
) -> None:
    experts = FOUR[:size]
    written = msgspec.json.encode(filled(plan_shape(experts, kept).small)).decode()
    plan = parse_plan(written, experts, kept=kept)
    assert len(plan.phases) == SMALL_PHASES
    assert [bool(phase.depends_on) for phase in plan.phases] == [False, False, True]
    assert not plan.unknown_owners
    if size > 2:
        assert len({phase.owner for phase in plan.phases[:2]}) == 2
        assert all(phase.owner != "ada" for phase in plan.phases[:2])


def test_ids_that_are_taken_cannot_be_given_again_and_can_be_depended_on() -> None:
    shape = plan_shape(FOUR, KEPT)
    phases = cast("dict[str, Any]", shape.schema["properties"])["phases"]["items"]["properties"]
    ids = phases["id"]["enum"]
    assert len(ids) == PHASES_MAX - len(KEPT)
    assert not {"p1", "p3", "look"} & set(ids)
    assert phases["depends_on"]["items"]["enum"] == ["P1", "look", "p3", *ids]


def test_a_review_of_the_small_shape_is_a_clear_verdict() -> None:
    review = parse_review(msgspec.json.encode(filled(review_shape().small)).decode())
    assert (review.accepted, review.understood) == (False, True)


def test_the_lead_is_asked_for_plans_and_reviews_in_their_shapes_and_for_the_synthesis_in_none() -> None:
    played = play(plans=[plan_of(("p1", "Bob", ""))], reviews=[ACCEPT])
    shapes = {call.purpose: (call.request.shape, call.aside) for call in played.all(CallModel)}
    assert shapes["plan"] == (plan_shape(EXPERTS), True)
    assert shapes["review"] == (review_shape(), True)
    assert shapes["synthesis"] == (msgspec.UNSET, False)
