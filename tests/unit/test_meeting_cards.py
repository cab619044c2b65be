"""Every note of a meeting is a card with plain data, under a name that clients know."""

from pathlib import Path
from typing import get_args

import msgspec
import pytest

from app.api.meeting_wire import FRAMES
from app.core import events as ev
from app.core.meeting_cards import cast_of, expert_of, meeting_card
from app.core.steps import StepCard
from projections import transcript

GOLDEN = Path(__file__).parent / "golden_events.jsonl"
LIVE = {"expert_speech_chunk", "expert_result_chunk", "expert_result_chunk_reset", "team_synthesis_chunk"}
OF_MEMBERS = {"expert_step", "expert_result"}
CAST = cast_of((ev.ExpertCard("ana", "Ana", "A", "#112233"), ev.ExpertCard("bo", "Bo")))


def notes() -> list[ev.MeetingNote]:
    """One of each kind that was ever written."""
    lines = GOLDEN.read_text(encoding="utf-8").splitlines()
    kinds = [(msgspec.json.decode(line)["type"], line) for line in lines]
    found = [ev.decode(kind, line) for kind, line in kinds]
    return [one for one in found if isinstance(one, ev.MeetingNote)]


@pytest.mark.parametrize("note", notes(), ids=lambda note: ev.event_type(note))
def test_data_come_back_from_json_as_they_are(note: ev.MeetingNote) -> None:
    """Guard: a tuple or a struct in the data, with which a rebuilt view would differ from the one in memory."""
    card = meeting_card(note, CAST, "t1")
    assert msgspec.json.decode(msgspec.json.encode(card), type=StepCard) == card
    assert card.step == note.step


def test_the_cards_are_the_frames_of_the_contract_and_one_more() -> None:
    names = {meeting_card(note, CAST, "t1").name for note in notes()}
    assert names - FRAMES == {"expert_silent"}
    assert FRAMES - names == LIVE | OF_MEMBERS | {"plan_step", "team_intervention_ack"}


def test_every_note_is_shown_after_a_reload() -> None:
    assert {type(note) for note in notes()} == set(get_args(ev.MeetingNote))
    assert {ev.event_type(note) for note in notes()} <= transcript.PROJECTION.handles


def test_an_expert_is_known_by_id_or_name_and_anybody_else_by_what_they_are_called() -> None:
    assert expert_of(CAST, "bo") == expert_of(CAST, "Bo") == CAST[1]
    assert expert_of(CAST, "dee").name == "dee"
