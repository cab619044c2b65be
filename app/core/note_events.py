"""Notes that modes put on record by themselves (intent `TakeMinute`). The rules of `app/core/events.py` hold.

`step` and `key` are filled in by the driver.
"""

import msgspec


class PhaseChanged(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.phase_changed", omit_defaults=True
):
    """Note of a mode: a phase begins. `step` and `key` are filled in by the driver."""

    phase: str
    previous: str | None = None
    reason: str = ""
    step: int = 0
    key: str = ""


class PhaseViolated(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.phase_violated", omit_defaults=True
):
    """Note of a mode: the model asked for a tool that the phase does not allow; it was not called."""

    phase: str
    tool: str
    allowed: tuple[str, ...] = ()
    call_id: str = ""
    step: int = 0
    key: str = ""


class PlanStep(msgspec.Struct, frozen=True):
    """A step of a plan: `tool` and `arguments` (JSON text) where it calls one."""

    text: str
    evidence: str = ""
    tool: str = ""
    arguments: str = ""


class PlanDrafted(msgspec.Struct, frozen=True, tag_field="type", tag="run.plan_drafted", omit_defaults=True):
    """Note of a mode: what it is going to do. `evidence` names a step's result for later steps, for example `#E1`."""

    steps: tuple[PlanStep, ...]
    step: int = 0
    key: str = ""


class AttemptCritiqued(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.attempt_critiqued", omit_defaults=True
):
    """Note of a mode: what it thinks of its own attempt, counted from 1."""

    attempt: int
    accepted: bool
    critique: str
    step: int = 0
    key: str = ""


class HistorySummarized(
    msgspec.Struct, frozen=True, tag_field="type", tag="history.summarized", omit_defaults=True
):
    """Note of a run: `content` stands for the conversation up to offset `until` from now on."""

    content: str
    until: int
    messages: int = 0
    step: int = 0
    key: str = ""
