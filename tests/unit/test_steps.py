"""What events are to people, the same live and after a reload."""

import typing

import msgspec
import pytest

from app.core import events as ev
from app.core import steps
from tests.support.projected import START


@pytest.mark.parametrize("kind", typing.get_args(steps.Stepping), ids=lambda kind: kind.__name__)
def test_every_such_event_has_its_fields_and_its_name(kind: type[steps.Stepping]) -> None:
    """Guard: a field of the table that the event does not have, or an event that is not in the table."""
    name, fields = steps._SHOWN[kind]
    assert name in steps.NAMES
    assert set(fields) <= set(kind.__struct_fields__)


def test_data_come_back_from_json_as_they_are() -> None:
    """Guard: a tuple or a time in the data, with which a rebuilt view would differ from the one in memory."""
    for event in (
        ev.PlanDrafted((ev.PlanStep("Look", "#E1"),), 3),
        ev.HumanAsked("q", 1, "Which?", START),
        ev.PhaseViolated("plan", "shell", ("a", "b"), "c", 2),
        ev.InterventionHeard(2, (ev.Intervention("m", "t", "blue"),)),
    ):
        card = steps.step_of(event)
        assert msgspec.json.decode(msgspec.json.encode(card), type=steps.StepCard) == card
        assert card.step == event.step


def test_an_expired_confirmation_counts_as_refused() -> None:
    card = steps.step_of(ev.ConfirmationExpired("n", "deadline"))
    assert card.name == "confirmation_result"
    assert card.data == {"approved": False, "confirmation_id": "n", "reason": "deadline"}
