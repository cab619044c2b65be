"""The lead of a team: what it is asked and answers, what people say to it, and what it puts on record.

Every model call of `team_collab` itself is one of these. Generators, to be used with `yield from`.
"""

from collections.abc import Generator, Sequence
from typing import TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from app.core.acting import add_user, hear, request, shortened, spoken
from app.core.events import Note
from app.core.intents import (
    CallModel,
    Intent,
    ModelFailure,
    Outcome,
    RunStart,
    opening,
    take_minute,
    tell_run,
)
from app.core.meeting_events import NoticeGiven, ResultReviewed, RiskFlagged, TeamPhase
from app.core.messages import AnswerShape, ChatMessage, ModelAnswer
from app.core.team_plan import InvalidPlan, Plan, Review, Risk, parse_plan, parse_review
from app.core.team_prompts import (
    AGAIN,
    AGAIN_WITH_WORDS,
    lead_prompt,
    plan_prompt,
    replan_prompt,
    review_prompt,
    synthesis_prompt,
    word_told,
    words_text,
)
from app.core.team_shapes import plan_shape, review_shape
from app.core.team_state import TeamState, Work
from app.core.texts import text

PLANS_MAX = 3
"""Tries at the first plan."""
SYNTHESES_MAX = 2
"""The second one where people have said something to the first."""
WORD_CHARS_MAX = 4_000
BAD_PLAN_CHARS_MAX = 4_000

_T = TypeVar("_T")
Acts = Generator[tuple[Intent, ...], tuple[Outcome, ...], _T]


class Lead:
    """`budget` says which budget is used up, `listened` that nothing has happened since the last listening."""

    def __init__(self, start: RunStart, state: TeamState) -> None:
        self.start = start
        self.state = state
        self.card = state.lead
        self.budget = ""
        self.listened = False

    def plan(self) -> Acts[Plan]:
        """A valid plan; that of one phase by the lead where there is none after three tries or the model fails."""
        messages, reason = self._messages(plan_prompt(self.state)), ""
        for _ in range(PLANS_MAX):
            outcome = yield from self._ask(messages, "plan", plan_shape(self.start.experts))
            if isinstance(outcome, ModelFailure):
                if outcome.error_class == "interrupted":
                    continue
                reason = outcome.message
                break
            try:
                return parse_plan(outcome.text, self.start.experts)
            except InvalidPlan as error:
                written = spoken(shortened(outcome.text, BAD_PLAN_CHARS_MAX))
                messages = add_user(messages + written, AGAIN.format(error=error))
        name = self.text("team_only_phase")
        phase = TeamPhase("p1", name, shortened(self.start.input, WORD_CHARS_MAX), self.card.id)
        missing = f"{self.text('team_no_plan', lead=self.card.name)} {reason}".strip()
        return Plan((phase,), risks=(Risk(missing),))

    def plan_anew(self, failed: Work, reason: str) -> Acts[Plan | None]:
        """What is left, asked once; None where there is no valid plan."""
        messages, kept = self._messages(replan_prompt(self.state, failed, reason)), self.state.going_on()
        outcome = yield from self._ask(messages, "plan", plan_shape(self.start.experts, kept))
        if isinstance(outcome, ModelFailure):
            return None
        try:
            return parse_plan(outcome.text, self.start.experts, kept=self.state.going_on())
        except InvalidPlan:
            return None

    def review(self, work: Work, result: str) -> Acts[Review]:
        """The verdict. Without a clear one the result counts as accepted, and the note says so."""
        messages = self._messages(review_prompt(self.state, work, result), alone=True)
        outcome = yield from self._ask(messages, "review", review_shape())
        if isinstance(outcome, ModelFailure):
            reason = self.text("team_review_missing", reason=outcome.message)
            review = Review(accepted=True, comment=reason.strip(), understood=False)
        else:
            review = parse_review(outcome.text)
            if not review.understood:
                unclear = self.text("team_review_unclear", said=review.comment).strip()
                review = msgspec.structs.replace(review, comment=unclear)
        yield from self.note(ResultReviewed(work.id, self.card.id, review.accepted, review.comment))
        yield from self.flag(review.risks, work.id)
        return review

    def synthesise(self) -> Acts[str]:
        """The answer, empty where there is none. Once more where people have said something meanwhile."""
        messages, content = self._messages(synthesis_prompt(self.state)), ""
        for left in reversed(range(SYNTHESES_MAX)):
            outcome = yield from self._ask(messages, "synthesis")
            if isinstance(outcome, ModelFailure) and outcome.error_class != "interrupted":
                return content
            said = outcome.partial if isinstance(outcome, ModelFailure) else outcome.text
            content = said.strip() or content
            if not left or not (yield from self.hear()):
                break
            messages = add_user(messages + spoken(content), AGAIN_WITH_WORDS)
        return content

    def hear(self) -> Acts[bool]:
        """Whether people have said something: it goes on record, and to those who are at work now."""
        if self.listened:
            return False
        said = yield from hear()
        self.listened = True
        running = self.state.running()
        to = tuple(dict.fromkeys((self.card.id, *(work.owner for work in running))))
        self.state.words += said
        for word in said:
            yield from self.note(NoticeGiven(shortened(word, WORD_CHARS_MAX), to))
            for work in running:
                yield from self.tell(work, word_told(word))
        return bool(said)

    def note(self, note: Note) -> Acts[None]:
        self.listened = False
        yield from take_minute(note)

    def flag(self, risks: Sequence[Risk], phase_id: str = "") -> Acts[None]:
        for risk in risks:
            yield from self.note(RiskFlagged(risk.risk, risk.severity, phase_id))

    def tell(self, work: Work, content: str) -> Acts[None]:
        """Whoever is at work there."""
        self.listened = False
        yield from tell_run(work.child, content)

    def text(self, key: str, **values: object) -> str:
        return text(key, self.start.locale, **values)

    def _ask(
        self, messages: tuple[ChatMessage, ...], purpose: str, shape: AnswerShape | UnsetType = UNSET
    ) -> Acts[ModelAnswer | ModelFailure]:
        """A call that is told all that people have said. What has a shape is no answer for people. Remembers where a
        budget was used up."""
        yield from self.hear()
        told = add_user(messages, words_text(self.state.words))
        asked = request(told, (), self.card.model or self.start.model)
        asked, aside = msgspec.structs.replace(asked, shape=shape), shape is not UNSET
        self.listened = False
        (outcome,) = yield (CallModel(asked, aside, self.card.id, 0, purpose),)
        match outcome:
            case ModelFailure(error_class="budget_exceeded", message=message):
                self.budget = message or self.text("team_not_done")
                return outcome
            case ModelAnswer() | ModelFailure():
                return outcome
            case _:
                raise TypeError("a model call was sent the outcome of something else")

    def _messages(self, prompt: str, *, alone: bool = False) -> tuple[ChatMessage, ...]:
        """The request with this behind it, as the lead is shown it; `alone`: without the conversation before."""
        start = msgspec.structs.replace(self.start, system_prompt=lead_prompt(self.state))
        if alone:
            start = msgspec.structs.replace(start, history=(), summary="", sources=())
        return add_user(opening(start), prompt)
