"""What a moderator's answers say: whether there is consensus, and the conclusion. Nothing else is read from them, and
from other speakers' answers nothing at all."""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from app.core.acting import shortened
from app.core.board_prompts import shown_name
from app.core.meeting_events import Dissent, ExpertCard, Vote
from app.core.messages import AnswerShape, storable
from app.core.structured import SENTENCE, Malformed, read_answer

POINTS_MAX = 30
POINT_CHARS_MAX = 1_000
SUMMARY_CHARS_MAX = 8_000

_MARKER = re.compile(
    r"^[\s*_`#]*(?:consensus|共识)[\s*_`]*[:：][\s*_`]*(yes|no|是|否)[\s*_`.。!！]*$",
    re.IGNORECASE,
)
_YES = ("yes", "是")


class Conclusion(msgspec.Struct, frozen=True):
    """What the moderator concludes."""

    summary: str
    decision_advice: str
    consensus_points: Annotated[tuple[str, ...], Meta(max_length=POINTS_MAX)]
    dissent_points: Annotated[tuple[Dissent, ...], Meta(max_length=POINTS_MAX)]
    votes: Annotated[tuple[Vote, ...], Meta(max_length=POINTS_MAX)] = ()


def consensus_of(summary: str) -> tuple[str, bool]:
    """The summary without its marker lines, and whether it names consensus.

    It does where its last line is the marker with a yes and nothing else, no marker says no, and there is a summary
    besides. Text that only mentions or quotes the marker is no marker.
    """
    lines = [(line, _MARKER.match(line.strip())) for line in summary.strip().splitlines(keepends=True)]
    rest = "".join(line for line, marker in lines if marker is None).strip()
    last = lines[-1][1] if lines else None
    agreed = all(marker[1].lower() in _YES for _, marker in lines if marker is not None)
    return rest, bool(rest) and last is not None and agreed


def conclusion_shape(names: tuple[str, ...]) -> AnswerShape:
    """The shape of a conclusion, with the names of those present. The small one has no votes: a model that small makes
    them up."""
    text, name = {"type": "string"}, {"enum": list(names)}
    dissent: dict[str, object] = {"point": text, "who": {"type": "array", "items": name, "minItems": 1}}
    vote: dict[str, object] = {"expert": name, "vote": text, "reason": text}
    properties: dict[str, object] = {
        "summary": text,
        "decision_advice": text,
        "consensus_points": {"type": "array", "items": text},
        "dissent_points": {"type": "array", "items": _object(dissent)},
        "votes": {"type": "array", "items": _object(vote)},
    }
    return AnswerShape(_object(properties), _small_conclusion(names))


def _small_conclusion(names: tuple[str, ...]) -> dict[str, object]:
    text = SENTENCE
    who = {"type": "array", "items": {"enum": list(names)}, "minItems": 1, "maxItems": 2}
    dissent = {"type": "array", "items": _object({"point": text, "who": who}), "maxItems": 1}
    properties: dict[str, object] = {
        "summary": text,
        "decision_advice": text,
        "consensus_points": {"type": "array", "items": text, "maxItems": 2},
        "dissent_points": dissent,
        "votes": {"type": "array", "items": text, "maxItems": 0},
    }
    return _object(properties)


def _object(properties: dict[str, object]) -> dict[str, object]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def read_conclusion(text: str, present: tuple[ExpertCard, ...]) -> Conclusion:
    """The conclusion in the moderator's answer, with the names as everyone is shown them. Raises `Malformed`: also
    where a needed text is blank, somebody is named who is not present, or somebody votes twice."""
    found = read_answer(text, Conclusion)
    votes = tuple(
        Vote(_named(vote.expert, present), _point(_needed(vote.vote, "vote")), _point(vote.reason))
        for vote in found.votes
    )
    if len({vote.expert for vote in votes}) < len(votes):
        raise Malformed("Somebody votes twice in it; everyone has one vote at most.")
    return Conclusion(
        shortened(_needed(found.summary, "summary"), SUMMARY_CHARS_MAX),
        shortened(_needed(found.decision_advice, "decision_advice"), SUMMARY_CHARS_MAX),
        tuple(_point(point) for point in found.consensus_points if point.strip()),
        tuple(_dissent(dissent, present) for dissent in found.dissent_points),
        votes,
    )


def _dissent(dissent: Dissent, present: tuple[ExpertCard, ...]) -> Dissent:
    point = _point(_needed(dissent.point, "point"))
    who = tuple(dict.fromkeys(_named(name, present) for name in dissent.who))
    if not who:
        raise Malformed('A point of dissent does not say who holds it; name them in "who".')
    return Dissent(point, who)


def _named(name: str, present: tuple[ExpertCard, ...]) -> str:
    """Who is meant: a name or an id, without regard to case. Nobody is guessed."""
    wanted = " ".join(name.split()).casefold()
    for card in present:
        if wanted in (
            shown_name(card).casefold(),
            " ".join(card.name.split()).casefold(),
            card.id.casefold(),
        ):
            return card.name
    names = ", ".join(map(shown_name, present))
    raise Malformed(f"Nobody called {shortened(name, 60)!r} is present. Present are: {names}.")


def _needed(text: str, field: str) -> str:
    if not text.strip():
        raise Malformed(f'"{field}" is empty.')
    return storable(text.strip())


def _point(text: str) -> str:
    """A text on one line."""
    return storable(shortened(" ".join(text.split()), POINT_CHARS_MAX))
