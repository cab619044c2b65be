"""The shapes of what the lead of a team writes: the plan of phases, and the review of a result.

The ids of phases are `p1`, `p2` and so on where a model keeps to the shape, so that what depends on a phase can only
name one. A small shape leaves such a model the words and the owners: which phases depend on which is given.
"""

from collections.abc import Sequence

from app.core.meeting_events import ExpertCard, TeamPhase
from app.core.messages import AnswerShape
from app.core.team_plan import PHASES_MAX

SMALL_PHASES = 3
"""Two at once, and one that brings them together."""

_TEXT: dict[str, object] = {"type": "string", "minLength": 1}
_SEVERITY: dict[str, object] = {"enum": ["low", "medium", "high"]}


def plan_shape(experts: Sequence[ExpertCard], kept: Sequence[TeamPhase] = ()) -> AnswerShape:
    """A plan for this team. `kept` are phases of an earlier plan that new ones may depend on."""
    owner: dict[str, object] = {"enum": list(dict.fromkeys(expert.name for expert in experts))}
    known = [phase.id for phase in kept]
    taken = {id.lower() for id in known}
    ids = [id for id in (f"p{number}" for number in range(1, 2 * PHASES_MAX + 1)) if id not in taken]
    ids = ids[: max(1, PHASES_MAX - len(kept))]
    phase = _phase({"enum": ids}, owner, _some([*known, *ids]))
    contract = _object({"provider": owner, "consumer": owner, "deliverable": _TEXT, "phase": {"enum": ids}})
    properties: dict[str, object] = {
        "phases": {"type": "array", "items": phase},
        "contracts": {"type": "array", "items": contract},
        "risks": {"type": "array", "items": _risk()},
    }
    return AnswerShape(_object(properties), _small_plan(ids[:SMALL_PHASES], owner))


def review_shape() -> AnswerShape:
    """A verdict with its reasons."""
    verdict: dict[str, object] = {"accepted": {"type": "boolean"}, "comment": {"type": "string"}}
    risks: dict[str, object] = {"type": "array", "items": _risk()}
    return AnswerShape(_object({**verdict, "risks": risks}), _object(verdict))


def _small_plan(ids: Sequence[str], owner: dict[str, object]) -> dict[str, object]:
    """As many phases as there are ids: the last one needs the others, and they need nothing."""
    last = len(ids) - 1
    phases = [
        _phase({"const": id}, owner, {"const": list(ids[:last]) if at == last else []})
        for at, id in enumerate(ids)
    ]
    listed = {"type": "array", "prefixItems": phases, "minItems": len(ids), "maxItems": len(ids)}
    return _object({"phases": listed})


def _phase(id: dict[str, object], owner: dict[str, object], needs: dict[str, object]) -> dict[str, object]:
    return _object({"id": id, "name": _TEXT, "task": _TEXT, "owner": owner, "depends_on": needs})


def _some(ids: Sequence[str]) -> dict[str, object]:
    return {"type": "array", "items": {"enum": list(dict.fromkeys(ids))}}


def _risk() -> dict[str, object]:
    return _object({"risk": _TEXT, "severity": _SEVERITY})


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}
