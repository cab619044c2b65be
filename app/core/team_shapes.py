"""The shapes of what the lead of a team writes: the plan of phases, and the review of a result.

The ids of phases are `p1`, `p2` and so on where a model keeps to the shape, so that what depends on a phase can only
name one. A small shape leaves such a model the words and the choice of owners: which phases depend on which is given.
"""

from collections.abc import Sequence

from app.core.meeting_events import ExpertCard, TeamPhase
from app.core.messages import AnswerShape
from app.core.structured import PHRASE, SENTENCE
from app.core.team_plan import PHASES_MAX

SMALL_PHASES = 3
"""Two at once, and one that brings them together."""

_TEXT: dict[str, object] = {"type": "string", "minLength": 1}
_SEVERITY: dict[str, object] = {"enum": ["low", "medium", "high"]}


def plan_shape(experts: Sequence[ExpertCard], kept: Sequence[TeamPhase] = ()) -> AnswerShape:
    """A plan for this team. `kept` are phases of an earlier plan that new ones may depend on."""
    names = list(dict.fromkeys(expert.name for expert in experts))
    owner: dict[str, object] = {"enum": names}
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
    return AnswerShape(_object(properties), _small_plan(ids[:SMALL_PHASES], names))


def review_shape() -> AnswerShape:
    """A verdict with its reasons."""
    verdict: dict[str, object] = {"accepted": {"type": "boolean"}, "comment": {"type": "string"}}
    risks: dict[str, object] = {"type": "array", "items": _risk()}
    return AnswerShape(_object({**verdict, "risks": risks}), _object({**verdict, "comment": SENTENCE}))


def _small_plan(ids: Sequence[str], names: Sequence[str]) -> dict[str, object]:
    """As many phases as there are ids: the last one needs the others, and they need nothing. The lead has only the
    last one, and nobody two at once, as far as there are others."""
    last = len(ids) - 1
    phases: list[dict[str, object]] = []
    for at, id in enumerate(ids):
        owners = list(names) if at == last else list(names[1 + at :: max(1, last)]) or list(names)
        needs: list[str] = list(ids[:last]) if at == last else []
        phases.append(_phase({"const": id}, {"enum": owners}, {"const": needs}, small=True))
    listed = {"type": "array", "prefixItems": phases, "minItems": len(ids), "maxItems": len(ids)}
    return _object({"phases": listed})


def _phase(
    id: dict[str, object],
    owner: dict[str, object],
    needs: dict[str, object],
    *,
    small: bool = False,
) -> dict[str, object]:
    name, task = (PHRASE, SENTENCE) if small else (_TEXT, _TEXT)
    return _object({"id": id, "name": name, "task": task, "owner": owner, "depends_on": needs})


def _some(ids: Sequence[str]) -> dict[str, object]:
    return {"type": "array", "items": {"enum": list(dict.fromkeys(ids))}}


def _risk() -> dict[str, object]:
    return _object({"risk": _TEXT, "severity": _SEVERITY})


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}
