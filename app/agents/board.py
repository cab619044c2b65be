"""`board`: a moderator and experts discuss a topic in rounds and come to a conclusion with advice and dissent.

    opening ──► every expert speaks ──► summary ──rounds held, or consensus──► conclusion ──► Markdown
                       ▲                   │                                       ▲
                       └───── next round ◄─┘                budget used up ────────┘ (from any call; none is made then)

People are listened to before each speech; what they say is minuted and shown to every speaker from then on. A speaker
who is cut short keeps what was said; one who fails is noted, and the meeting goes on. Only the moderator's summary is
read for a decision about the meeting, and only for the consensus marker.
"""

from collections.abc import Generator
from typing import Literal

import msgspec
from msgspec import UNSET

from app.core.acting import add_user, hear, request, shortened, spoken
from app.core.board_answers import Conclusion, conclusion_shape, consensus_of, read_conclusion
from app.core.board_prompts import Meeting, Turn, Word, messages_for, shown_name
from app.core.board_text import conclusion_markdown
from app.core.events import (
    BoardConcluded,
    BoardStarted,
    ExpertSilent,
    ExpertSpoke,
    InterventionMinuted,
    RoundSummarized,
)
from app.core.intents import (
    CallModel,
    Heard,
    Intent,
    Mode,
    ModelFailure,
    Noted,
    Outcome,
    RunAborted,
    RunEnded,
    RunStart,
    Started,
    ToolResult,
    take_minute,
)
from app.core.meeting_events import ExpertCard, StopRule
from app.core.messages import AnswerShape, ChatMessage, ModelAnswer
from app.core.structured import Malformed
from app.core.texts import text

VERSION = 1
ROUNDS_DEFAULT = 5
ROUNDS_MAX = 20
"""More are not held, however many are asked for."""
PRESENT_MAX = 16
SPEECH_CALLS_MAX = 2
CONCLUSION_CALLS_MAX = 3
SPEECH_CHARS_MAX = 20_000
REJECTED_CHARS_MAX = 2_000

OPENING = """Open the meeting, {name}: in at most 100 words say what is to be decided, which questions matter most, \
and what you want to hear. Take no side."""
SPEECH = """It is your turn in round {round} of {rounds}, {name}. In at most 150 words give your own view with your \
reasons, answer by name those who spoke before you, and say plainly where you disagree. Where the topic or a person \
asks for a vote, say how you vote and why."""
LAST_ROUND = "This is the last round: say what you advise in the end."
SUMMARY = """Sum up round {round} of {rounds}, {name}, in at most 120 words and fairly: what is agreed, what is not \
and who holds which view, what is still open.
Then write a last line of its own: the word CONSENSUS, a colon, and YES if all who spoke agree on what to do and \
nothing is left to argue about; in any other case NO."""
CONCLUSION = """The meeting is over, {name}. Draw its conclusion from what was said, and only from that, as one JSON \
object that fits this schema:
{schema}
Name people exactly as the schema does. In "dissent_points" say who holds each view that not all share; a list may \
be empty. Leave "votes" empty unless the topic or a person asks for a vote, and then give only votes that were cast. \
Write the texts in the language of the topic. Write nothing but the JSON object."""
AGAIN = "That cannot be used. {error} Write the whole JSON object again, and nothing else."
SILENCE = "Your last answer was empty. Please speak now."

Purpose = Literal["speech", "summary", "conclusion"]


class BudgetUsedUp(Exception):
    """No further model call is to be made."""


class Utterance(msgspec.Struct, frozen=True):
    """What came of asking somebody to speak. `text` is empty where nothing can be kept; `error_class` is empty where
    the speech came to its own end."""

    text: str
    error_class: str = ""
    message: str = ""


def board(start: RunStart) -> Mode:
    """At most `calls_max` model calls, each with its speaker; `limits.max_steps` does not count here.

    Ends by the first of: consensus named by the moderator in a round's summary, all rounds held, a budget used up.
    Raises `RunAborted` where there is no topic or nobody to discuss it, and where a whole round passes in which nobody
    can speak: then the models are away, and a conclusion would be about nothing.
    """
    meeting = convened(start)
    yield from take_minute(BoardStarted(start.input.strip(), meeting.present, meeting.rounds_max))
    stopped_by: StopRule
    try:
        stopped_by = yield from _discuss(meeting)
        conclusion = yield from _conclude(meeting)
    except BudgetUsedUp:
        stopped_by, conclusion = "budget", None
    concluded = _concluded(meeting, conclusion, stopped_by)
    yield from take_minute(concluded)
    return conclusion_markdown(concluded, start.locale)


def calls_max(present: int, rounds: int) -> int:
    """Model calls of a meeting at most: the opening, each speech and summary once again if empty, the conclusion."""
    speaking = max(1, present - 1)
    return SPEECH_CALLS_MAX * (1 + rounds * (speaking + 1)) + CONCLUSION_CALLS_MAX


def convened(start: RunStart) -> Meeting:
    """The meeting before it begins, the moderator first among those present: the first who is one by their card, else
    the first of all. One who is alone both moderates and speaks. Raises `RunAborted`."""
    topic, locale = start.input.strip(), start.locale
    once: dict[str, ExpertCard] = {}
    for card in start.experts:
        once.setdefault(card.id, card)
    cards = list(once.values())
    if not topic:
        raise RunAborted("no_topic", text("board_no_topic", locale))
    if not cards:
        raise RunAborted("no_experts", text("board_no_experts", locale))
    if len(cards) > PRESENT_MAX:
        raise RunAborted("too_many_experts", text("board_too_many", locale, limit=PRESENT_MAX))
    chosen = next((card for card in cards if card.is_moderator), cards[0])
    moderator = msgspec.structs.replace(chosen, is_moderator=True)
    others = [msgspec.structs.replace(card, is_moderator=False) for card in cards if card is not chosen]
    present = (moderator, *others)
    rounds_max = min(max(1, start.rounds or ROUNDS_DEFAULT), ROUNDS_MAX)
    attached = f"\n[Attached files: {', '.join(start.sources)}]" if start.sources else ""
    return Meeting(start, topic + attached, present, tuple(others) or present, rounds_max)


def _discuss(meeting: Meeting) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], StopRule]:
    """Opening and rounds. Raises `BudgetUsedUp` and `RunAborted`."""
    opening = OPENING.format(name=shown_name(meeting.moderator))
    yield from _speak(meeting, meeting.moderator, opening, role="moderator")
    for number in range(1, meeting.rounds_max + 1):
        meeting.round = number
        yield from _speak_in_turn(meeting)
        if (yield from _sum_up(meeting)):
            return "consensus"
    return "rounds"


def _speak_in_turn(meeting: Meeting) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], None]:
    """Every expert once. Raises `RunAborted` where none of them could speak, for the reason of the last."""
    failures: list[Utterance] = []
    for card in meeting.experts:
        failure = yield from _take_turn(meeting, card)
        failures += [failure] if failure is not None else []
    if len(failures) == len(meeting.experts):
        last, locale = failures[-1], meeting.start.locale
        sentence = text("board_nobody_spoke", locale, round=meeting.round, reason=last.message)
        raise RunAborted(last.error_class, sentence)


def _take_turn(
    meeting: Meeting, card: ExpertCard
) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], Utterance | None]:
    """An expert's turn; the failure, where they could not speak at all. To be cut short is none."""
    instruction = SPEECH.format(name=shown_name(card), round=meeting.round, rounds=meeting.rounds_max)
    if meeting.round == meeting.rounds_max:
        instruction = f"{instruction} {LAST_ROUND}"
    said = yield from _speak(meeting, card, instruction, role="expert")
    if said.text:
        meeting.rounds_held = meeting.round
    return None if said.text or said.error_class == "interrupted" else said


def _speak(
    meeting: Meeting, card: ExpertCard, instruction: str, *, role: str
) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], Utterance]:
    """A speech, on record. Raises `BudgetUsedUp` once what there was of it is on record."""
    said = yield from _utter(meeting, card, instruction, "speech")
    name, cut = shown_name(card), bool(said.error_class)
    meeting.turns += (Turn(meeting.round, name, said.text, cut),)
    if said.text:
        yield from take_minute(ExpertSpoke(card.id, said.text, meeting.round, role, cut))
    else:
        yield from take_minute(ExpertSilent(card.id, meeting.round, said.error_class, said.message))
    _check_budget(said)
    return said


def _sum_up(meeting: Meeting) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], bool]:
    """The moderator's summary of the round; whether it names consensus. One that was cut short never does."""
    moderator, number = meeting.moderator, meeting.round
    name = shown_name(moderator)
    instruction = SUMMARY.format(name=name, round=number, rounds=meeting.rounds_max)
    said = yield from _utter(meeting, moderator, instruction, "summary")
    summary, consensus = consensus_of(said.text)
    consensus = consensus and not said.error_class
    if summary:
        meeting.summary = summary
        meeting.turns += (Turn(number, name, summary, summary=True),)
        yield from take_minute(RoundSummarized(moderator.id, summary, number, consensus))
    else:
        error_class = said.error_class or "empty_answer"
        message = said.message or text("board_nothing_said", meeting.start.locale)
        yield from take_minute(ExpertSilent(moderator.id, number, error_class, message))
    _check_budget(said)
    return consensus


def _check_budget(said: Utterance) -> None:
    if said.error_class == "budget_exceeded":
        raise BudgetUsedUp


def _utter(
    meeting: Meeting, card: ExpertCard, instruction: str, purpose: Purpose
) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], Utterance]:
    """What somebody says. An empty answer is asked for once more; what was said of a speech that a person or the
    budget cut short is kept."""
    for attempt in range(SPEECH_CALLS_MAX):
        yield from _hear(meeting)
        asked = f"{instruction} {SILENCE}" if attempt else instruction
        outcome = yield from _ask(meeting, card, messages_for(meeting, card, asked), purpose)
        match outcome:
            case ModelAnswer(text=answer) if answer.strip():
                return Utterance(shortened(answer.strip(), SPEECH_CHARS_MAX))
            case ModelFailure(error_class, message, partial):
                kept = partial.strip() if error_class in ("interrupted", "budget_exceeded") else ""
                return Utterance(shortened(kept, SPEECH_CHARS_MAX), error_class, message)
            case _:
                pass
    return Utterance("", "empty_answer", text("board_nothing_said", meeting.start.locale))


def _conclude(meeting: Meeting) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], Conclusion | None]:
    """The moderator's conclusion; None where there is none that holds. Raises `BudgetUsedUp`."""
    moderator = meeting.moderator
    shape = conclusion_shape(tuple(map(shown_name, meeting.present)))
    schema = msgspec.json.encode(shape.schema).decode()
    instruction = CONCLUSION.format(name=shown_name(moderator), schema=schema)
    rejected: tuple[ChatMessage, ...] = ()
    for _ in range(CONCLUSION_CALLS_MAX):
        yield from _hear(meeting)
        messages = messages_for(meeting, moderator, instruction)
        for one in rejected:
            messages = add_user(messages, one.content or "") if one.role == "user" else (*messages, one)
        outcome = yield from _ask(meeting, moderator, messages, "conclusion", shape)
        if isinstance(outcome, ModelFailure):
            if outcome.error_class == "budget_exceeded":
                raise BudgetUsedUp
            return None
        try:
            return read_conclusion(outcome.text, meeting.present)
        except Malformed as error:
            again = ChatMessage("user", AGAIN.format(error=shortened(str(error), REJECTED_CHARS_MAX)))
            rejected = (*spoken(shortened(outcome.text, REJECTED_CHARS_MAX)), again)
    return None


def _hear(meeting: Meeting) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], None]:
    """People's words since: on record, and before every speaker from here on."""
    for said in (yield from hear()):
        meeting.words += (Word(meeting.round, said),)
        yield from take_minute(InterventionMinuted(said, meeting.round))


def _ask(
    meeting: Meeting,
    card: ExpertCard,
    messages: tuple[ChatMessage, ...],
    purpose: Purpose,
    shape: AnswerShape | None = None,
) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], ModelAnswer | ModelFailure]:
    """One model call in the name of a speaker: for an answer of this shape, else for a few sentences. A conclusion is
    streamed as thinking: JSON is no answer for people."""
    asked = msgspec.structs.replace(
        request(messages, (), card.model or meeting.start.model),
        shape=UNSET if shape is None else shape,
        brief=True if shape is None else UNSET,
    )
    (outcome,) = yield (
        CallModel(asked, purpose == "conclusion", speaker=card.id, round=meeting.round, purpose=purpose),
    )
    match outcome:
        case ModelAnswer() | ModelFailure():
            return outcome
        case ToolResult() | Noted() | Heard() | Started() | RunEnded():
            raise TypeError("a model call was sent the outcome of something else")


def _concluded(meeting: Meeting, conclusion: Conclusion | None, stopped_by: StopRule) -> BoardConcluded:
    """The conclusion for the record. Without a structured one it says so, and has the moderator's last summary."""
    rounds, locale = meeting.rounds_held, meeting.start.locale
    if conclusion is None:
        summary = meeting.summary or text("board_no_summary", locale)
        return BoardConcluded(summary, text("board_unstructured", locale), rounds, stopped_by=stopped_by)
    return BoardConcluded(
        conclusion.summary,
        conclusion.decision_advice,
        rounds,
        conclusion.consensus_points,
        conclusion.dissent_points,
        conclusion.votes,
        stopped_by,
    )
