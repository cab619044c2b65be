"""The conclusion of a board meeting as Markdown, in the language of the run."""

from typing import assert_never

from app.core.meeting_events import BoardConcluded, StopRule
from app.core.texts import Locale, text


def conclusion_markdown(concluded: BoardConcluded, locale: Locale = "en") -> str:
    """Summary, decision advice, points of consensus and of dissent with who holds them, votes where there are any, the
    number of rounds, and which rule ended the meeting."""
    dissent = [
        f"{one.point} ({', '.join(one.who)})" if one.who else one.point for one in concluded.dissent_points
    ]
    votes = [
        f"{one.expert}: {one.vote}" + (f" ({one.reason})" if one.reason else "") for one in concluded.votes
    ]
    sections = [
        ("board_summary", concluded.summary),
        ("board_advice", concluded.decision_advice),
        ("board_consensus", _listed(concluded.consensus_points, locale)),
        ("board_dissent", _listed(dissent, locale)),
        *([("board_votes", _listed(votes, locale))] if votes else []),
    ]
    parts = [f"## {text(heading, locale)}\n\n{content}" for heading, content in sections]
    rounds = text("board_rounds", locale, rounds=concluded.total_rounds)
    return "\n\n".join([*parts, f"**{rounds}** {stop_text(concluded.stopped_by, locale)}"])


def stop_text(stopped_by: StopRule, locale: Locale = "en") -> str:
    """Why the meeting ended, in one sentence."""
    match stopped_by:
        case "rounds":
            return text("board_stopped_rounds", locale)
        case "consensus":
            return text("board_stopped_consensus", locale)
        case "budget":
            return text("board_stopped_budget", locale)
        case _ as never:
            assert_never(never)


def _listed(points: tuple[str, ...] | list[str], locale: Locale) -> str:
    return "\n".join(f"- {point}" for point in points) or text("board_none", locale)
