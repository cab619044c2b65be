"""What the lead of a team writes, read and checked: the plan of phases, and the review of a result.

Both are one JSON object in whatever else a model writes around it. What is meant clearly is put right (other common
names of a field, a comma too many, a member's name in other letters); what is not is refused with one sentence that
says what is wrong.
"""

import re
from collections.abc import Mapping, Sequence
from typing import cast

import msgspec

from app.core.acting import shortened
from app.core.meeting_events import ExpertCard, TeamPhase
from app.core.messages import storable
from app.core.structured import Malformed, read_answer

PHASES_MAX = 12
CONTRACTS_MAX = 24
RISKS_MAX = 12
DEPENDENCIES_MAX = PHASES_MAX
ID_CHARS_MAX = 40
NAME_CHARS_MAX = 100
TASK_CHARS_MAX = 4_000
COMMENT_CHARS_MAX = 2_000
UNREADABLE_CHARS_MAX = 500

_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_SEVERITIES = {"low": "low", "minor": "low", "high": "high", "critical": "high", "severe": "high"}
_YES = {"true", "yes", "y", "1", "ok", "accept", "accepted", "approve", "approved", "pass", "passed"}
_NO = {"false", "no", "n", "0", "reject", "rejected", "revise", "refuse", "refused", "fail", "failed"}
_NONE = {"", "-", "none", "null", "nothing", "n/a"}


class InvalidPlan(Exception):
    """The plan cannot be carried out. The text is one sentence for the model: what is wrong, and what is right."""


class Contract(msgspec.Struct, frozen=True):
    """What `provider` hands to `consumer` (ids of experts) when the phase is done; no phase: nobody is told when."""

    provider: str
    consumer: str
    deliverable: str
    phase_id: str = ""


class Risk(msgspec.Struct, frozen=True):
    """`severity` is low, medium or high."""

    risk: str
    severity: str = "medium"


class Plan(msgspec.Struct, frozen=True):
    """A plan without cycles, in the order in which it was written; owners are ids of experts.

    `unknown_owners` are phases, by name, that were given to nobody in the team, and whom they were given to: they are
    the lead's.
    """

    phases: tuple[TeamPhase, ...]
    contracts: tuple[Contract, ...] = ()
    risks: tuple[Risk, ...] = ()
    unknown_owners: tuple[tuple[str, str], ...] = ()


class Review(msgspec.Struct, frozen=True):
    """`understood` False: there was no clear verdict, so the result counts as accepted; `comment` is what was said."""

    accepted: bool
    comment: str = ""
    risks: tuple[Risk, ...] = ()
    understood: bool = True


def parse_plan(text: str, experts: Sequence[ExpertCard], *, kept: Sequence[TeamPhase] = ()) -> Plan:
    """The plan in what the lead wrote; the lead is the first of `experts`. Raises `InvalidPlan`.

    `kept` are phases of an earlier plan that go on or are done: new ones may depend on them, and where the lead writes
    them down again they are passed over. At most 12 phases, those included.
    """
    written = _plan_in(text)
    known = {phase.id.lower() for phase in kept}
    numbered = list(enumerate(_objects(_field(written, "phases")), start=1))
    drafts = [_phase(number, one) for number, one in numbered[: 2 * PHASES_MAX + 1]]
    drafts = [draft for draft in drafts if draft.id.lower() not in known]
    if not drafts:
        raise InvalidPlan('There is no new phase in "phases"; write at least one.')
    if len(drafts) + len(kept) > PHASES_MAX:
        raise InvalidPlan(f"There are more than {PHASES_MAX - len(kept)} phases; make do with fewer.")
    _check_ids(drafts)
    everyone = (*kept, *drafts)
    unknown: list[tuple[str, str]] = []
    phases: list[TeamPhase] = []
    for draft in drafts:
        owner = resolve(draft.owner, experts)
        if owner is None and draft.owner:
            unknown.append((draft.name, draft.owner))
        needs = tuple(dict.fromkeys(_dependency(draft, named, everyone) for named in draft.depends_on))
        owned = owner or experts[0].id
        phases.append(msgspec.structs.replace(draft, owner=owned, depends_on=needs))
    if cycle := find_cycle(phases):
        raise InvalidPlan(f"The phases depend on one another in a circle: {' -> '.join(cycle)}.")
    contracts = _contracts(_field(written, "contracts"), experts, (*kept, *phases))
    return Plan(tuple(phases), contracts, _risks(_field(written, "risks")), tuple(unknown))


def parse_review(text: str) -> Review:
    """The verdict in what the lead wrote. Without a clear one the result is accepted."""
    try:
        found = _object_in(text)
    except Malformed:
        found = dict[str, object]()
    accepted = _yes_or_no(_field(found, "accepted", "accept", "verdict", "decision", "approved"))
    if accepted is not None:
        comment = _text(_field(found, "comment", "reason", "feedback"), COMMENT_CHARS_MAX)
        return Review(accepted, comment, _risks(_field(found, "risks")))
    return Review(
        accepted=True, comment=shortened(storable(text.strip()), UNREADABLE_CHARS_MAX), understood=False
    )


def resolve(name: str, experts: Sequence[ExpertCard]) -> str | None:
    """The id of the expert with this id or name; the case of letters and blanks around it do not count."""
    wanted = name.strip().lstrip("@").casefold()
    for key in ("id", "name"):
        for expert in experts:
            if wanted and getattr(expert, key).strip().casefold() == wanted:
                return expert.id
    return None


def find_cycle(phases: Sequence[TeamPhase]) -> tuple[str, ...]:
    """Ids of phases that depend on one another in a circle, the first one again at the end; empty without a circle."""
    needs = {phase.id: phase.depends_on for phase in phases}
    left = dict(needs)
    for _ in phases:
        ready = [id for id, on in left.items() if not any(other in left for other in on)]
        for id in ready:
            del left[id]
    if not left:
        return ()
    path = [next(iter(left))]
    for _ in phases:
        following = next(other for other in needs[path[-1]] if other in left)
        if following in path:
            return (*path[path.index(following) :], following)
        path.append(following)
    return tuple(path)


def longest_path(phases: Sequence[TeamPhase]) -> int:
    """How many phases have to go one after another; there is no cycle among them."""
    length: dict[str, int] = {}
    for _ in phases:
        for phase in phases:
            length[phase.id] = 1 + max((length.get(other, 0) for other in phase.depends_on), default=0)
    return max(length.values(), default=0)


def _plan_in(text: str) -> Mapping[str, object]:
    """The object with phases, also where it stands within an object `plan`."""
    try:
        found = _object_in(text)
    except Malformed as error:
        raise InvalidPlan(str(error)) from None
    for name in ("plan", "team_plan"):
        inner = found.get(name)
        if "phases" not in found and isinstance(inner, dict):
            found = cast("dict[str, object]", inner)
    if not isinstance(found.get("phases"), list):
        raise InvalidPlan('The JSON object has no list "phases".')
    return found


def _object_in(text: str) -> dict[str, object]:
    """The one JSON object in the text, commas too many taken out where it cannot be read with them."""
    try:
        return read_answer(text, dict[str, object])
    except Malformed:
        repaired = _TRAILING_COMMA.sub(r"\1", text)
        if repaired == text:
            raise
        return read_answer(repaired, dict[str, object])


def _phase(number: int, written: Mapping[str, object]) -> TeamPhase:
    """As it was written: the owner and what it depends on are names still."""
    name = _text(_field(written, "name", "title"), NAME_CHARS_MAX)
    task = _text(_field(written, "task", "description", "instruction", "goal"), TASK_CHARS_MAX) or name
    if not task:
        raise InvalidPlan(f'Phase {number} has no "task"; say what is to be done in it.')
    return TeamPhase(
        _text(_field(written, "id", "phase_id"), ID_CHARS_MAX) or f"p{number}",
        name or shortened(" ".join(task.split()), NAME_CHARS_MAX // 2),
        task,
        _text(_field(written, "owner", "expert", "assignee", "member"), NAME_CHARS_MAX),
        _names(_field(written, "depends_on", "dependencies", "depends", "dependsOn")),
    )


def _check_ids(phases: Sequence[TeamPhase]) -> None:
    seen: set[str] = set()
    for phase in phases:
        if phase.id.lower() in seen:
            raise InvalidPlan(f"The id {phase.id!r} is there twice; every phase has an id of its own.")
        seen.add(phase.id.lower())


def _dependency(phase: TeamPhase, named: str, phases: Sequence[TeamPhase]) -> str:
    wanted = named.casefold()
    for key in ("id", "name"):
        for other in phases:
            if getattr(other, key).casefold() == wanted:
                return other.id
    known = ", ".join(other.id for other in phases)
    raise InvalidPlan(f"Phase {phase.id} depends on {named!r}, which is no phase. Phases are: {known}.")


def _contracts(
    written: object, experts: Sequence[ExpertCard], phases: Sequence[TeamPhase]
) -> tuple[Contract, ...]:
    """Those between two members. Without a phase of the plan it is the provider's last one."""
    contracts: dict[Contract, None] = {}
    for one in _objects(written)[:CONTRACTS_MAX]:
        provider = resolve(_text(_field(one, "provider", "from"), NAME_CHARS_MAX), experts)
        consumer = resolve(_text(_field(one, "consumer", "to"), NAME_CHARS_MAX), experts)
        deliverable = _text(_field(one, "deliverable", "content"), COMMENT_CHARS_MAX)
        if provider is None or consumer is None or not deliverable:
            continue
        named = _text(_field(one, "phase", "phase_id"), NAME_CHARS_MAX).casefold()
        matching = [phase.id for phase in phases if named in (phase.id.casefold(), phase.name.casefold())]
        owned = [phase.id for phase in phases if phase.owner == provider]
        contracts[Contract(provider, consumer, deliverable, (matching or owned[-1:] or [""])[0])] = None
    return tuple(contracts)


def _risks(written: object) -> tuple[Risk, ...]:
    risks: list[Risk] = []
    items = cast("list[object]", written) if isinstance(written, list) else []
    for one in items[:RISKS_MAX]:
        found = cast("dict[str, object]", one) if isinstance(one, dict) else {"risk": one}
        risk = _text(_field(found, "risk", "description", "name"), COMMENT_CHARS_MAX)
        severity = _text(_field(found, "severity", "level"), NAME_CHARS_MAX).lower()
        if risk:
            risks.append(Risk(risk, _SEVERITIES.get(severity, "medium")))
    return tuple(risks)


def _field(written: Mapping[str, object], *names: str) -> object:
    """The first of these fields that is there with something in it."""
    return next((value for name in names if (value := written.get(name)) is not None), None)


def _objects(written: object) -> list[dict[str, object]]:
    items = cast("list[object]", written) if isinstance(written, list) else []
    return [cast("dict[str, object]", one) for one in items if isinstance(one, dict)]


def _names(written: object) -> tuple[str, ...]:
    """A list of names, or one text with commas between them."""
    if isinstance(written, list):
        items = cast("list[object]", written)
    else:
        items = list[object](_text(written, TASK_CHARS_MAX).split(","))
    names = [_text(one, NAME_CHARS_MAX) for one in items[:DEPENDENCIES_MAX]]
    return tuple(name for name in names if name.lower() not in _NONE)


def _text(written: object, chars_max: int) -> str:
    """A text or a number as a text that can be stored, without blanks around it; anything else is none."""
    match written:
        case bool():
            return ""
        case str() | int():
            return shortened(storable(str(written)).strip(), chars_max)
        case _:
            return ""


def _yes_or_no(written: object) -> bool | None:
    if isinstance(written, bool):
        return written
    word = _text(written, NAME_CHARS_MAX).lower().strip(" .!*`")
    return True if word in _YES else False if word in _NO else None
