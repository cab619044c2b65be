"""`reflexion`: attempt, criticise the attempt, try again with the memory of all critiques.

N. Shinn, F. Cassano, E. Berman, A. Gopinath, K. Narasimhan, S. Yao: "Reflexion: Language Agents with Verbal
Reinforcement Learning", NeurIPS 2023, arXiv:2303.11366. Actor, evaluator and self-reflection of the paper are here an
attempt that acts with tools, and one model call that gives verdict and critique together; the paper's memory of at most
three reflections is the critiques of the attempts before. The prompts below follow its section 3 in words of our own.

    attempt ──► critique ──accepted──► answer
       ▲            │ not accepted, or no clear verdict
       └── memory ◄─┘                          after the last one: the last answer, with a note that it did not pass
"""

import re
from collections.abc import Generator

import msgspec

from app.core.acting import Acted, act, add_user, hear, request, shortened, spoken
from app.core.events import AttemptCritiqued
from app.core.intents import (
    Intent,
    Mode,
    Outcome,
    RunAborted,
    RunStart,
    ask_model,
    opening,
    take_minute,
)
from app.core.texts import text

VERSION = 1
ATTEMPTS_MAX = 3
ATTEMPT_STEPS_MIN = 3
"""Model calls that an attempt may have at least, as far as there are any: two rounds of tools and an answer."""
CRITIQUE_CHARS_MAX = 4_000
REMEMBERED_CHARS_MAX = 2_000

CRITIQUE = """[Check of your answer]
Check the answer that you have just given against my request and against what the tools have said. Is it complete, is \
every claim in it backed up, is it what I asked for? Be strict, but do not ask for more than the request does.
Write as the first line exactly one of these two:
VERDICT: ACCEPT
VERDICT: REVISE
After REVISE say what is wrong and what to do differently next time, in at most five sentences."""
MEMORY = """[Your earlier attempts at this request did not pass your own check]
{attempts}

Do it again, better: mind every critique, and do not repeat what did not work."""
REMEMBERED = "Attempt {number} answered: {answer}\nCritique: {critique}"
EMPTY = "The answer was empty."
NOT_MADE = "The check could not be made: {reason}"

_VERDICT = re.compile(r"^.{0,40}?\bverdict\b(.{0,80})", re.IGNORECASE | re.MULTILINE)
_WORD = re.compile(
    r"\b(accept(?:ed)?|revised?|reject(?:ed)?|not|no|never|cannot|\w{1,6}n['’]t)\b", re.IGNORECASE
)


class Trial(msgspec.Struct, frozen=True):
    """An attempt and what was thought of it. `checked`: the critique is the model's."""

    answer: str
    critique: str
    accepted: bool
    checked: bool = True


def reflexion(start: RunStart) -> Mode:
    """At most three attempts and `limits.max_steps` model calls, critiques included; with one step, one attempt
    without a critique. An answer that never passed is given with a note that says so.

    Raises `RunAborted` where the model failed at the first attempt; later, what there is by then is the answer.
    """
    trials: tuple[Trial, ...] = ()
    heard: tuple[str, ...] = ()
    left = start.limits.max_steps
    if left < 2:
        return (yield from act(start, opening(start), steps_max=left)).text
    while len(trials) < ATTEMPTS_MAX and left > 1:
        if trials:
            heard += yield from hear()
        messages = add_user(opening(start), *heard, _memory(trials))
        try:
            steps_max = _share(left, ATTEMPTS_MAX - len(trials))
            acted = yield from act(start, messages, steps_max=steps_max, final=False)
        except RunAborted:
            if not any(trial.answer.strip() for trial in trials):
                raise
            break
        heard, left = heard + acted.heard, left - acted.steps - bool(acted.text.strip())
        trial = yield from _criticise(start, acted)
        yield from take_minute(AttemptCritiqued(len(trials) + 1, trial.accepted, trial.critique))
        trials += (trial,)
        if trial.accepted or not trial.checked:
            break
    return _answer(start, trials)


def _share(left: int, attempts: int) -> int:
    """Model calls for the next attempt, so that one is left for its critique and the later attempts have theirs."""
    return min(left - 1, max(ATTEMPT_STEPS_MIN, left // attempts - 1))


def _criticise(start: RunStart, acted: Acted) -> Generator[tuple[Intent, ...], tuple[Outcome, ...], Trial]:
    """One model call; none for an empty answer, which needs no check."""
    if not acted.text.strip():
        return Trial("", EMPTY, accepted=False)
    messages = add_user(acted.messages + spoken(acted.text), CRITIQUE)
    try:
        answer = yield from ask_model(request(messages, (), start.model), aside=True)
    except RunAborted as error:
        return Trial(acted.text, NOT_MADE.format(reason=error), accepted=False, checked=False)
    critique = shortened(answer.text.strip(), CRITIQUE_CHARS_MAX)
    return Trial(acted.text, critique, accepted=is_accepted(answer.text))


def is_accepted(critique: str) -> bool:
    """Whether the verdict is clearly that the attempt is good. Both verdicts, none, or a "not" before it: it is not."""
    lines = [[word.lower() for word in _WORD.findall(found[1])] for found in _VERDICT.finditer(critique)]
    verdicts = [words for words in lines if words]
    return bool(verdicts) and all(
        words[0].startswith("accept") and not any(word.startswith("re") for word in words)
        for words in verdicts
    )


def _memory(trials: tuple[Trial, ...]) -> str:
    if not trials:
        return ""
    attempts = "\n\n".join(
        REMEMBERED.format(
            number=number,
            answer=shortened(trial.answer, REMEMBERED_CHARS_MAX) or "(nothing)",
            critique=shortened(trial.critique, REMEMBERED_CHARS_MAX) or "(nothing)",
        )
        for number, trial in enumerate(trials, start=1)
    )
    return MEMORY.format(attempts=attempts)


def _answer(start: RunStart, trials: tuple[Trial, ...]) -> str:
    """The last attempt that says anything, and a note where it did not pass."""
    given = next((trial for trial in reversed(trials) if trial.answer.strip()), None)
    if given is None:
        return ""
    if given.accepted:
        return given.answer
    note = "check_not_passed" if given.checked else "check_not_made"
    return f"{given.answer}\n\n{text(note, start.locale)}"
