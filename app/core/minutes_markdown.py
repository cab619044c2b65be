"""Minutes as Markdown. `[#12]` is the offset of the event that proves the line.

What people and models said is quoted, so that none of it can pass for a line of the minutes, and `[#` is ours alone.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from app.core import minutes as doc
from app.core.minutes_markdown_team import team_lines
from app.core.minutes_words import Words, code, inline, proof, quoted

HEADING_CHARS_MAX = 100
PERSONA_CHARS_MAX = 120
RESULT_CHARS_MAX = 300


def markdown(minutes: doc.Minutes, words: Words) -> str:
    """The whole document, ending in a line break."""
    title = inline(minutes.title) or words("conversation")
    head = words("minutes_head", id=code(minutes.conversation_id), offset=proof(minutes.offset))
    lines = [f"# {words('minutes_title', title=title)}", "", head]
    imported = False
    for item in minutes.items:
        match item:
            case doc.Imported():
                lines += [] if imported else ["", f"## {words('minutes_imported')}"]
                lines += ["", f"**{inline(item.role)}** {proof(item.offset)}", "", *quoted(item.content)]
            case doc.Board():
                lines += _item(item, "minutes_board", words, _board(item, words))
            case doc.Team():
                lines += _item(item, "minutes_team", words, team_lines(item, words))
            case doc.Turn():
                lines += _item(item, "minutes_turn", words, _turn(item, words))
        imported = isinstance(item, doc.Imported)
    if not minutes.items:
        lines += ["", words("minutes_nothing")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def _item(turn: doc.Turn, heading: str, words: Words, own: Iterable[str]) -> Iterator[str]:
    shown = inline(turn.question)
    cut = _cut_at(shown, HEADING_CHARS_MAX)
    opened = words("minutes_opened", at=_time(turn.at), by=inline(turn.by))
    yield from ("", f"## {words(heading, topic=cut)} {proof(turn.offset)}", "", opened)
    if cut != turn.question.strip():
        yield from ("", *quoted(turn.question))
    present = turn.present if isinstance(turn, doc.Board | doc.Team) else []
    if present:
        yield from ("", f"### {words('minutes_present')}", "")
    for one in present:
        role = words(f"minutes_{one.role}")
        named = " ".join(filter(None, (inline(one.avatar), f"**{inline(one.name)}**", f"({role})")))
        persona = f": {_cut_at(inline(one.persona), PERSONA_CHARS_MAX)}" if one.persona else ""
        yield f"- {named}{persona} {proof(one.offset)}"
    yield from _experience(turn.experience, words)
    yield from own
    yield from _people(turn, words)
    yield from _end(turn, words)
    yield from _used(turn.used, words)


def _experience(given: doc.Experience | None, words: Words) -> Iterator[str]:
    if given is None:
        return
    key = "minutes_experience_problem" if given.problem else "minutes_experience_found"
    found = ", ".join(map(code, given.task_ids)) or words("minutes_none")
    shown = words(key, tasks=found, reason=inline(given.problem))
    yield from ("", f"### {words('minutes_experience')}", "", f"- {shown} {proof(given.offset)}")


def _board(board: doc.Board, words: Words) -> Iterator[str]:
    for held in board.rounds:
        opening = words("minutes_opening")
        named = (
            words("minutes_round", number=held.number, rounds=board.max_rounds) if held.number else opening
        )
        yield from ("", f"### {named}")
        said = [*held.speeches, *held.silences, *held.interventions, *filter(None, (held.summary,))]
        for line in sorted(said, key=_place):
            yield from ("", *_said(line, words))
    concluded = board.conclusion
    if concluded is None:
        return
    shown = proof(concluded.offset)
    yield from ("", f"### {words('minutes_summary')} {shown}", "", *quoted(concluded.summary))
    yield from ("", f"### {words('minutes_decision')} {shown}", "", *quoted(concluded.decision_advice))
    yield from ("", f"### {words('minutes_consensus')}", "")
    yield from _listed((inline(point) for point in concluded.consensus_points), shown, words)
    yield from ("", f"### {words('minutes_dissent')}", "")
    dissent = (
        f"{inline(one.point)} ({', '.join(map(inline, one.who)) or words('minutes_none')})"
        for one in concluded.dissent
    )
    yield from _listed(dissent, shown, words)
    if concluded.votes:
        yield from ("", f"### {words('minutes_votes')}", "")
        for vote in concluded.votes:
            reason = f" — {inline(vote.reason)}" if vote.reason else ""
            yield f"- **{inline(vote.expert)}**: {inline(vote.vote)}{reason} {shown}"


def _place(line: doc.Speech | doc.Silence | doc.Word | doc.Summing) -> int:
    """Where it stands within its round: a word counts from when the meeting took it up."""
    return (line.minuted_offset or line.offset) if isinstance(line, doc.Word) else line.offset


def _said(line: doc.Speech | doc.Silence | doc.Word | doc.Summing, words: Words) -> Iterator[str]:
    match line:
        case doc.Silence():
            silent = words("minutes_silent", name=inline(line.name), reason=inline(line.message))
            yield f"*{silent}*{_cut(line, words)} {proof(line.offset)}"
        case doc.Speech():
            role = f" ({words('minutes_moderator')})" if line.role == "moderator" else ""
            yield f"**{inline(line.name)}**{role}{_cut(line, words)} {proof(line.offset)}"
            yield from ("", *quoted(line.content))
        case doc.Summing():
            agreed = f" – {words('minutes_agreed')}" if line.consensus else ""
            named = words("minutes_round_summary", name=inline(line.name))
            yield f"**{named}**{agreed} {proof(line.offset)}"
            yield from ("", *quoted(line.content))
        case doc.Word():
            yield f"**{words('minutes_said_by', by=inline(line.by))}** {proof(line.offset)}{_heard(line, words)}"
            yield from ("", *quoted(line.content))


def _cut(line: doc.Cut, words: Words) -> str:
    if not line.interrupted:
        return ""
    if line.interrupted_offset is None:
        return f" – {words('minutes_not_finished')}"
    by = words("minutes_cut_short_by", by=inline(line.interrupted_by))
    return f" – {by} {proof(line.interrupted_offset)}"


def _heard(word: doc.Word, words: Words) -> str:
    heard = word.heard_offset or word.minuted_offset
    shown = words("minutes_not_heard") if heard is None else f"{words('minutes_heard')} {proof(heard)}"
    return f" – {shown}"


def _turn(turn: doc.Turn, words: Words) -> Iterator[str]:
    if turn.answer is not None:
        named = words("minutes_answer" if turn.answer.whole else "minutes_partial_answer")
        yield from ("", f"### {named} {proof(turn.answer.offset)}", "", *quoted(turn.answer.content))


def _people(turn: doc.Turn, words: Words) -> Iterator[str]:
    """Interventions, and what was asked and done besides."""
    if turn.interventions:
        yield from ("", f"### {words('minutes_interventions')}")
    for word in turn.interventions:
        yield from ("", *_said(word, words))
    if turn.interruptions:
        yield from ("", f"### {words('minutes_interruptions')}", "")
    for cut in turn.interruptions:
        key = "minutes_interruption" if cut.name else "minutes_interruption_late"
        yield f"- {words(key, by=inline(cut.by), name=inline(cut.name))} {proof(cut.offset)}"
    if turn.questions:
        yield from ("", f"### {words('minutes_asked')}", "")
    for asked in turn.questions:
        reply = words(f"minutes_{asked.outcome}", by=inline(asked.by), answer=inline(asked.answer))
        yield f"- {inline(asked.question)} {proof(asked.offset)} – {reply}{proof(asked.reply_offset, ' ')}"
    if turn.confirmations:
        yield from ("", f"### {words('minutes_confirmations')}", "")
    for consent in turn.confirmations:
        reply = words(f"minutes_{consent.outcome}", by=inline(consent.by))
        shown = f"{code(consent.command)} {proof(consent.offset)}"
        yield f"- {inline(consent.tool)}: {shown} – {reply}{proof(consent.reply_offset, ' ')}"
    if turn.tools:
        yield from ("", f"### {words('minutes_tools')}", "")
    for use in turn.tools:
        by = f" ({inline(use.by)})" if use.by else ""
        returned = use.result_offset is not None
        result = _cut_at(inline(use.result), RESULT_CHARS_MAX) if returned else words("minutes_no_result")
        failed = f"{inline(use.error_class)}: " if use.error_class else ""
        shown = f"{inline(use.name)}{by} {code(use.arguments)} {proof(use.offset)}"
        yield f"- {shown} → {failed}{result}{proof(use.result_offset, ' ')}"


def _end(turn: doc.Turn, words: Words) -> Iterator[str]:
    yield from ("", f"### {words('minutes_end')}", "")
    if isinstance(turn, doc.Board) and (concluded := turn.conclusion) is not None:
        rule = words(f"minutes_stopped_{concluded.stopped_by}", rounds=concluded.total_rounds)
        yield f"- {rule} {proof(concluded.offset)}"
    if isinstance(turn, doc.Team) and turn.dissolved is not None:
        yield f"- {words('minutes_dissolved', reason=inline(turn.dissolved.reason))} {proof(turn.dissolved.offset)}"
    if (ended := turn.ended) is None:
        yield f"- {words('minutes_going_on')}"
        return
    status = words(f"minutes_{ended.status}", reason=inline(ended.message) or "-", by=inline(ended.by))
    yield f"- {_time(ended.at)}: {status} {proof(ended.offset)}"


def _used(used: doc.Used, words: Words) -> Iterator[str]:
    shown = proof(used.offset)
    yield from ("", f"### {words('minutes_used')}", "")
    yield f"- {words('minutes_used_calls', count=used.calls)} {shown}"
    yield f"- {words('minutes_used_tokens', count=used.tokens)}{_limit(used.tokens_max, words)} {shown}"
    if used.cost_usd is not None or used.cost_usd_max is not None:
        cost = words("minutes_used_cost", cost=f"{used.cost_usd or 0:.4f}")
        yield f"- {cost}{_limit(used.cost_usd_max, words)} {shown}"
    if used.duration_ms is not None:
        seconds = words("minutes_used_time", seconds=f"{used.duration_ms / 1000:.1f}")
        yield f"- {seconds}{_limit(used.timeout_seconds, words)} {shown}"
    for one in used.by_speaker:
        by = words("minutes_used_by", name=inline(one.name), calls=one.calls, tokens=one.tokens)
        yield f"- {by} {proof(one.offset)}"


def _limit(limit: float | None, words: Words) -> str:
    return "" if limit is None else f" ({words('minutes_limit', limit=f'{limit:,g}'.replace(',', ' '))})"


def _listed(points: Iterable[str], shown: str, words: Words) -> Iterator[str]:
    yield from [f"- {point} {shown}" for point in points] or [f"- {words('minutes_none')} {shown}"]


def _cut_at(shown: str, chars_max: int) -> str:
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
