"""The minutes of a conversation as a document: what was asked, who was present, what was said and decided.

Everything in it has the offset of the event that proves it, and what came of it later the offset of that event.
`app/core/minutes_fold.py` makes it of the log, `app/core/minutes_markdown.py` makes it readable.
"""

from datetime import datetime
from typing import Literal

import msgspec

from app.core.events import Dissent, Vote


class Line(msgspec.Struct, kw_only=True):
    """Something that is on record. `at` is when it was recorded."""

    offset: int
    at: datetime


class Cut(Line, kw_only=True):
    """Something said, or not. `interrupted_by` is the person who cut the speaker short."""

    expert_id: str
    name: str
    interrupted: bool = False
    interrupted_by: str = ""
    interrupted_offset: int | None = None


class Speech(Cut, kw_only=True):
    """`role` is `moderator` or `expert`."""

    content: str
    role: str


class Silence(Cut, kw_only=True):
    """An expert could not speak."""

    error_class: str
    message: str


class Summing(Line, kw_only=True):
    """The summary of a round. `consensus`: nothing is left to argue about."""

    expert_id: str
    name: str
    content: str
    consensus: bool


class Interruption(Line, kw_only=True):
    """`by` has cut somebody short: `name`, empty where nobody was speaking any more."""

    by: str
    name: str = ""


class Word(Line, kw_only=True):
    """A person's intervention. Heard from `heard_offset` on; None: not yet."""

    by: str
    content: str
    heard_offset: int | None = None
    minuted_offset: int | None = None


class Round(msgspec.Struct, kw_only=True):
    """Round 0 is the opening."""

    number: int
    speeches: list[Speech] = []
    silences: list[Silence] = []
    interventions: list[Word] = []
    summary: Summing | None = None


class Attendee(Line, kw_only=True):
    """Somebody present. `role` is moderator, expert, lead or member."""

    id: str
    name: str
    role: str
    avatar: str = ""
    color: str = ""
    persona: str = ""


class Conclusion(Line, kw_only=True):
    """`stopped_by` is the rule that ended the meeting: rounds, consensus or budget."""

    summary: str
    decision_advice: str
    total_rounds: int
    consensus_points: tuple[str, ...]
    dissent: tuple[Dissent, ...]
    votes: tuple[Vote, ...]
    stopped_by: str


class PlannedPhase(msgspec.Struct, kw_only=True):
    """`owner` is a name; `depends_on` are ids of phases."""

    id: str
    name: str
    task: str
    owner: str
    depends_on: tuple[str, ...]
    status: str


class Plan(Line, kw_only=True):
    phases: tuple[PlannedPhase, ...]


class Contract(Line, kw_only=True):
    provider: str
    consumer: str
    deliverable: str
    phase_id: str


class Attempt(msgspec.Struct, kw_only=True):
    """One go at a phase, by `name` in the task `task_id`. `outcome` is running, completed or failed; what proves it
    stands at `outcome_offset`. `offset` None: it failed before it began."""

    number: int
    expert_id: str
    name: str
    task_id: str = ""
    offset: int | None = None
    at: datetime | None = None
    outcome: Literal["running", "completed", "failed"] = "running"
    outcome_offset: int | None = None
    content: str = ""
    error_class: str = ""
    message: str = ""


class Review(Line, kw_only=True):
    reviewer: str
    accepted: bool
    comment: str


class Remedy(Line, kw_only=True):
    """What was done about a failure: `action` is retry, reassign, replan or give_up."""

    action: str
    reason: str


class Phase(msgspec.Struct, kw_only=True):
    """What became of a phase, in the order of its events."""

    id: str
    name: str
    attempts: list[Attempt] = []
    reviews: list[Review] = []
    remedies: list[Remedy] = []


class Risk(Line, kw_only=True):
    risk: str
    severity: str
    phase_id: str


class Notice(Line, kw_only=True):
    content: str
    to: tuple[str, ...]
    phase_id: str


class Synthesis(Line, kw_only=True):
    content: str


class Dissolution(Line, kw_only=True):
    reason: str


class ToolUse(Line, kw_only=True):
    """A call of a tool. `by` is the member of a team who made it. `result_offset` None: it has not returned."""

    name: str
    arguments: str
    by: str = ""
    result: str = ""
    error_class: str | None = None
    result_offset: int | None = None


class Question(Line, kw_only=True):
    """A question to people. `outcome` is open, answered or unanswered."""

    question: str
    outcome: Literal["open", "answered", "unanswered"] = "open"
    answer: str = ""
    by: str = ""
    reply_offset: int | None = None


class Consent(Line, kw_only=True):
    """People were asked whether a call may be made. `outcome` is open, approved, refused or expired."""

    tool: str
    command: str
    reason: str
    outcome: Literal["open", "approved", "refused", "expired"] = "open"
    by: str = ""
    reply_offset: int | None = None


class Experience(Line, kw_only=True):
    """Past experiences that the model was shown, by their tasks: none where nothing was found, or where it could not be
    looked for (`problem`). What they say is not in here: their conversations may be deleted by now."""

    task_ids: tuple[str, ...] = ()
    problem: str = ""


class Answer(Line, kw_only=True):
    """`whole` is false for what there was of an answer whose task was cancelled or failed."""

    content: str
    whole: bool = True


class Ended(Line, kw_only=True):
    """`status` is completed, failed or cancelled; `by` who cancelled it."""

    status: Literal["completed", "failed", "cancelled"]
    error_class: str = ""
    message: str = ""
    by: str = ""


class SpeakerUse(msgspec.Struct, kw_only=True):
    """What an expert's model calls used. `offset` is that of the last one."""

    expert_id: str
    name: str
    offset: int
    calls: int = 0
    tokens: int = 0
    cost_usd: float | None = None


class Used(msgspec.Struct, kw_only=True):
    """Tokens and cost of all model calls, failed attempts and those of a team's members too, up to `offset`; None where
    no price is known. The limits are those of the task; None: no limit."""

    offset: int
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    tokens: int = 0
    cost_usd: float | None = None
    duration_ms: int | None = None
    tokens_max: int | None = None
    cost_usd_max: float | None = None
    timeout_seconds: float | None = None
    by_speaker: list[SpeakerUse] = []


class Imported(Line, kw_only=True, tag_field="kind", tag="imported"):
    """A message from before: it was imported."""

    role: str
    content: str


class Turn(Line, kw_only=True, tag_field="kind", tag="turn"):
    """A message and what came of it. `by` is an actor. Boards and teams are turns as well."""

    task_id: str
    by: str
    question: str
    agent: str
    mode: str
    used: Used
    skill: str | None = None
    experience: Experience | None = None
    interventions: list[Word] = []
    interruptions: list[Interruption] = []
    tools: list[ToolUse] = []
    questions: list[Question] = []
    confirmations: list[Consent] = []
    answer: Answer | None = None
    ended: Ended | None = None


class Board(Turn, kw_only=True, tag="board"):
    """`question` is the topic. `interventions` are those that are not in the minutes of a round yet."""

    max_rounds: int
    present: list[Attendee] = []
    rounds: list[Round] = []
    conclusion: Conclusion | None = None


class Team(Turn, kw_only=True, tag="team"):
    """`question` is the task. `plans` are all versions, the newest last."""

    present: list[Attendee] = []
    plans: list[Plan] = []
    contracts: list[Contract] = []
    phases: list[Phase] = []
    risks: list[Risk] = []
    notices: list[Notice] = []
    synthesis: Synthesis | None = None
    dissolved: Dissolution | None = None


Item = Imported | Turn | Board | Team


class Minutes(msgspec.Struct, kw_only=True):
    """A conversation up to `offset`. `title` is empty where the first message is a command alone."""

    conversation_id: str
    title: str
    is_board: bool
    offset: int
    items: list[Item]
