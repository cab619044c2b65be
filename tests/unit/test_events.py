"""Events are for ever: each line of `golden_events.jsonl` was written by some release, and all later ones read it.

Add a line for a new type, or for a type with a new field. Never change or remove one.
"""

from pathlib import Path

import msgspec
import pytest

from app.core import events
from app.core.events import TYPES, Event, RunLimits, UnknownEvent
from app.core.messages import Usage

GOLDEN = (Path(__file__).parent / "golden_events.jsonl").read_text(encoding="utf-8").splitlines()
ENDED: dict[str, object] = {"steps": 0, "tool_calls": 0, "usage": Usage(), "duration_ms": 0, "cost_usd": None}
CHARGED: dict[str, object] = {"charged_to": "", "bound": False}
NOTE: dict[str, object] = {"step": 0, "key": ""}
DEFAULTS: dict[str, dict[str, object]] = {
    "conversation.imported": {"fields": b"{}"},
    "message.received": {"client_message_id": None, "sources": ()},
    "message.answered": {"fallback": False, "thinking": ""},
    "run.requested": {
        "skill": None,
        "method": "default",
        "confidence": 1.0,
        "model": None,
        "system_prompt": "",
        "tools": (),
        "limits": RunLimits(8, 300.0),
        "max_history": 50,
        "sources": (),
        "locale": "en",
        "phases": (),
        "parent": None,
        "steers": None,
        "experts": (),
        "rounds": 0,
        "expert_id": "",
        "department_id": "",
        "charged_to": "",
        "bound": False,
        "metadata": b"{}",
        "input_data": b"{}",
        "lessons": 0,
    },
    "run.lessons_given": {"experiences": (), "text": "", "problem": ""},
    "run.claimed": {"history_until": 0, "in_turn": False},
    "model.called": {
        "model": None,
        "aside": False,
        "speaker": "",
        "round": 0,
        "purpose": "",
        "final": False,
    },
    "model.answered": {
        "duration_ms": 0,
        "attempt": 1,
        "tier": "main",
        "cost_usd": None,
        "aside": False,
        **CHARGED,
    },
    "model.failed": {"partial_text": "", "duration_ms": 0, "attempt": 1, "tier": "main"},
    "tool.called": {"effect": "pure"},
    "tool.returned": {"error_class": None, "duration_ms": 0},
    "run.cancel_requested": {"reason": ""},
    "run.completed": ENDED,
    "run.failed": {"quota_info": None, **ENDED},
    "run.cancelled": {"reason": "", **ENDED},
    "model.attempt_failed": {"duration_ms": 0, "usage": Usage(), "cost_usd": None, **CHARGED},
    "human.asked": {"call_id": ""},
    "confirmation.requested": {"call_id": ""},
    "run.phase_changed": {"previous": None, "reason": "", **NOTE},
    "run.phase_violated": {"allowed": (), "call_id": "", **NOTE},
    "run.plan_drafted": NOTE,
    "run.attempt_critiqued": NOTE,
    "history.summarized": {"messages": 0, **NOTE},
    "operation.started": {"call_id": "", "arguments": "{}", "step": 0},
    "operation.finished": {"error_class": None, "call_id": "", "parent": ""},
    "session.opened": {"metadata": b"{}"},
    "file.uploaded": {"conversation_id": ""},
    "user.set": {"role": "member", "department_id": "", "name": "", "disabled": False},
    "key.issued": {"name": "", "scopes": ("read", "write", "admin"), "service": False, "expires_at": ""},
    "key.revoked": {"reason": ""},
    "department.set": {"name": ""},
    "projection.checked": {"shown": (), "problem": ""},
    "user.notified": {"kind": "message"},
    "reminder.set": {"at": "", "cron": "", "time_zone": "UTC", "agent_name": "", "conversation_id": ""},
    "reminder.fired": {"next_at": ""},
    "board.started": {**NOTE},
    "board.expert_spoke": {"role": "expert", "interrupted": False, **NOTE},
    "board.expert_silent": {**NOTE},
    "board.round_summarized": {"consensus": False, **NOTE},
    "board.intervention_minuted": {**NOTE},
    "board.concluded": {
        "consensus_points": (),
        "dissent_points": (),
        "votes": (),
        "stopped_by": "rounds",
        **NOTE,
    },
    "team.formed": {**NOTE},
    "team.plan_updated": {**NOTE},
    "team.phase_started": {"child": "", "attempt": 1, **NOTE},
    "team.phase_completed": {**NOTE},
    "team.phase_failed": {**NOTE},
    "team.replanned": {**NOTE},
    "team.contract_defined": {"phase_id": "", **NOTE},
    "team.notice_given": {"to": (), "phase_id": "", **NOTE},
    "team.result_reviewed": {"comment": "", **NOTE},
    "team.risk_flagged": {"severity": "medium", "phase_id": "", **NOTE},
    "team.synthesized": {**NOTE},
    "team.dissolved": {"reason": "done", **NOTE},
    "run.child_started": {"expert_id": ""},
    "run.child_awaited": {"or_word": False},
    "run.child_ended": {"child": "", "content": "", "error_class": None, "tokens": 0, "cost_usd": None},
}


def kind_of(line: str) -> str:
    return msgspec.json.decode(line)["type"]


def defaults_of(kind: str) -> dict[str, object]:
    fields = msgspec.structs.fields(TYPES[kind])
    given = {field.name: field.default for field in fields if field.default is not msgspec.NODEFAULT}
    return {name: bytes(value) if isinstance(value, msgspec.Raw) else value for name, value in given.items()}


def holds(written: object, line: object) -> bool:
    """Whether everything of `line` is in `written`, which may have fields that are newer."""
    match line, written:
        case dict(), dict():
            return all(key in written and holds(written[key], value) for key, value in line.items())
        case list(), list():
            return len(line) == len(written) and all(map(holds, written, line))
        case _:
            return line == written


@pytest.mark.parametrize("line", GOLDEN, ids=kind_of)
def test_what_was_ever_written_is_read_and_written_the_same(line: str) -> None:
    event = events.decode(kind_of(line), line)
    assert not isinstance(event, UnknownEvent)
    written = events.encode(event)
    assert events.decode(kind_of(line), written) == event
    assert holds(msgspec.json.decode(written), msgspec.json.decode(line)), "something of it was lost"
    assert events.event_type(event) == kind_of(line)


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_a_golden_line_with_all_of_its_fields(kind: str) -> None:
    fields = {"type", *(field.encode_name for field in msgspec.structs.fields(TYPES[kind]))}
    there = [msgspec.json.decode(line).keys() for line in GOLDEN if kind_of(line) == kind]
    assert fields in there, f"golden_events.jsonl: add a line for {kind} with the fields {sorted(fields)}"


@pytest.mark.parametrize("kind", TYPES)
def test_a_default_never_changes(kind: str) -> None:
    """Events are stored without the fields that equal their default, so a new default would rewrite history."""
    now, then = defaults_of(kind), DEFAULTS.get(kind, {})
    assert {name: now.get(name) for name in then} == then
    assert now.keys() == then.keys(), f"{kind}: add a new field with a default to DEFAULTS, and a golden line"


def test_no_type_was_removed_or_renamed() -> None:
    gone = {kind_of(line) for line in GOLDEN} - TYPES.keys()
    assert not gone, "events of these types are in logs; bring them back into `Event` (app/core/events.py)"


@pytest.mark.parametrize("cls", TYPES.values(), ids=TYPES)
def test_events_are_values(cls: type[Event]) -> None:
    config = cls.__struct_config__
    assert config.frozen
    assert config.omit_defaults
    assert config.tag_field == "type"


def test_an_unknown_type_is_kept_as_it_is() -> None:
    assert events.decode("mind.read", b'{"type":"mind.read"}') == UnknownEvent(
        "mind.read", '{"type":"mind.read"}'
    )


def test_an_unknown_field_of_a_newer_release_is_passed_over() -> None:
    line = '{"type":"run.claimed","worker":"w","epoch":1,"colour":"red"}'
    assert events.decode("run.claimed", line) == events.RunClaimed("w", 1)


def test_a_damaged_event_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError):
        events.decode("run.claimed", '{"type":"run.claimed","worker":1}')
