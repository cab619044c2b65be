"""Events of people within runs: questions, confirmations, interventions. The rules of `app/core/events.py` hold."""

from datetime import datetime

import msgspec


class HumanAsked(msgspec.Struct, frozen=True, tag_field="type", tag="human.asked", omit_defaults=True):
    """The run waits for a person's answer until `deadline_at`."""

    request_id: str
    step: int
    question: str
    deadline_at: datetime
    call_id: str = ""


class HumanAnswered(msgspec.Struct, frozen=True, tag_field="type", tag="human.answered", omit_defaults=True):
    """The first answer is the only one. `by` is an actor."""

    request_id: str
    content: str
    by: str


class HumanUnanswered(
    msgspec.Struct, frozen=True, tag_field="type", tag="human.unanswered", omit_defaults=True
):
    """Nobody answered: `reason` is `deadline` or `run_ended`."""

    request_id: str
    reason: str


class ConfirmationRequested(
    msgspec.Struct, frozen=True, tag_field="type", tag="confirmation.requested", omit_defaults=True
):
    """The run waits for a person's consent to exactly this call until `deadline_at`.

    `command` is what is shown; `digest` is the SHA-256 of tool name and exact arguments, in hex.
    """

    confirmation_id: str
    step: int
    tool: str
    command: str
    reason: str
    digest: str
    deadline_at: datetime
    call_id: str = ""


class ConfirmationAnswered(
    msgspec.Struct, frozen=True, tag_field="type", tag="confirmation.answered", omit_defaults=True
):
    """The first answer is the only one. `digest` is that of the request, `by` an actor."""

    confirmation_id: str
    approved: bool
    digest: str
    by: str


class ConfirmationExpired(
    msgspec.Struct, frozen=True, tag_field="type", tag="confirmation.expired", omit_defaults=True
):
    """Counts as refused: `reason` is `deadline` or `run_ended`."""

    confirmation_id: str
    reason: str


class ConfirmationUsed(
    msgspec.Struct, frozen=True, tag_field="type", tag="confirmation.used", omit_defaults=True
):
    """The call that was consented to begins now. A consent is used once."""

    confirmation_id: str
    step: int
    digest: str


class Intervention(msgspec.Struct, frozen=True):
    """A person's further message to a running task. `task_id` is the task that it would have been."""

    message_id: str
    task_id: str
    content: str


class InterventionHeard(
    msgspec.Struct, frozen=True, tag_field="type", tag="run.intervention_heard", omit_defaults=True
):
    """The run was told a person's further message, behind step `step` and before the next one."""

    step: int
    messages: tuple[Intervention, ...]
