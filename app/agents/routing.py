"""Which mode answers a message (wire contract, section 5). Nothing falls back silently to another mode.

A message is small talk only if nothing is left of it once greetings, courtesies and punctuation are taken away. So
"hi, can you compute 3*4?" goes to the agent, and so does everything of which this file is not sure: "ok" and "yes" may
be the answer to a question of the agent's, so they are not small talk.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence

import msgspec

from app.core.commands import leading_command
from app.core.meeting_events import BOARD_MODE, TEAM_MODE

SMALL_TALK_CHARS_MAX = 80
ROUNDS_MAX = 20
NAMES_MAX = 12
KNOWN_SHOWN_MAX = 20
NAME_CHARS_COMPARED = 100


class RouteError(msgspec.Struct, frozen=True):
    """Why a message cannot be taken: a key of `app.core.texts` and its values."""

    key: str
    values: dict[str, str]


class SkillChoice(msgspec.Struct, frozen=True):
    """What routing knows of a skill: its name, and the mode that it names."""

    name: str
    mode: str


class MeetingCommand(msgspec.Struct, frozen=True):
    """Call a meeting: `word` is `board` or `team`. `rounds` None: as configured. `names` empty: the default experts."""

    word: str
    names: tuple[str, ...] = ()
    rounds: int | None = None
    topic: str = ""

    @property
    def kept(self) -> str:
        """The message as it is kept, whoever was called and however many rounds were asked for."""
        return f"@{self.word} {self.topic}"


class Route(msgspec.Struct, frozen=True):
    """Who answers, and to what: `message` is the input without its prefix. With `error` nothing may be started.

    `meeting` is set where a board or team answers.
    """

    mode: str
    skill: str
    method: str
    confidence: float
    message: str
    error: RouteError | None = None
    meeting: MeetingCommand | None = None


_SKILL = re.compile(r"@skill[:：]\s*(\S*)(.*)", re.IGNORECASE | re.DOTALL)
MODE_OF = {"board": BOARD_MODE, "team": TEAM_MODE}
"""The mode of each command that calls a meeting."""


def route(message: str, *, agent: str, mode: str = "react", skills: Sequence[SkillChoice] = ()) -> Route:
    """Decides by the first rule that fits: `@board`, `@team`, `@skill:NAME`, small talk, everything else.

    `agent` is the name of the agent that answers where no skill does, `mode` is its mode, `skills` are all there are.
    """
    stripped = message.strip()
    if (called := parse_meeting(stripped)) is not None:
        return to_meeting(*called, agent=agent, method="prefix")
    if named := _SKILL.fullmatch(stripped):
        return to_skill(named[1], named[2].strip(), method="prefix", skills=skills)
    if is_small_talk(stripped):
        return Route("direct_chat", agent, "greeting", 0.95, message)
    return Route(mode, agent, "default", 1.0, message)


def parse_meeting(message: str) -> tuple[MeetingCommand, RouteError | None] | None:
    """The `@board` or `@team` that leads the message, and what is wrong with it; None where there is none.

    A board has 1 to 20 rounds, a team none; at most 12 experts are named. Whether there are such experts is not known
    here.
    """
    command = leading_command(message)
    if command is None:
        return None
    names = tuple({name_key(name): name for name in command.names}.values())
    rounds = _rounds(command.rounds)
    meeting = MeetingCommand(command.word, names, rounds, command.topic)
    values = {"word": command.word}
    if command.rounds is not None and command.word != "board":
        return meeting, RouteError("meeting_without_rounds", values)
    if command.rounds is not None and rounds is None:
        shown = {"given": command.rounds[:20], "limit": str(ROUNDS_MAX)}
        return meeting, RouteError("meeting_rounds", values | shown)
    if len(command.names) > NAMES_MAX:
        shown = {"count": str(len(command.names)), "limit": str(NAMES_MAX)}
        return meeting, RouteError("meeting_too_many", values | shown)
    if not command.topic:
        return meeting, RouteError("meeting_no_topic", values)
    return meeting, None


def _rounds(written: str | None) -> int | None:
    """None for what is no number from 1 to 20."""
    if written is None or not written.isdecimal() or len(written) > NAME_CHARS_COMPARED:
        return None
    return rounds if 1 <= (rounds := int(written)) <= ROUNDS_MAX else None


def to_meeting(meeting: MeetingCommand, error: RouteError | None = None, *, agent: str, method: str) -> Route:
    """The route of a board or team. `agent` is whose limits, model and tools it has."""
    return Route(MODE_OF[meeting.word], agent, method, 1.0, meeting.topic, error, meeting)


def to_skill(name: str, message: str, *, method: str, skills: Sequence[SkillChoice] = ()) -> Route:
    """The route of a skill that was asked for by name, in whatever case.

    Where there is none, the route carries the error `no_skill` with at most 20 of the known names, the nearest first.
    """
    wanted = name_key(name)
    for skill in skills:
        if name_key(skill.name) == wanted:
            return Route(skill.mode, skill.name, method, 1.0, message)
    known = ", ".join(nearest_first(name, (skill.name for skill in skills))[:KNOWN_SHOWN_MAX]) or "-"
    return Route(
        "skill_react", name, method, 1.0, message, RouteError("no_skill", {"name": name, "known": known})
    )


def name_key(name: str) -> str:
    """What two names have in common that are the same but for case and width: `Ａ-b` and `a-B`."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def nearest_first(name: str, known: Iterable[str]) -> tuple[str, ...]:
    """The known names, those most like `name` first, equally like ones by name. Compares 100 characters."""
    wanted = difflib.SequenceMatcher(b=name_key(name)[:NAME_CHARS_COMPARED])

    def unlikeness(other: str) -> tuple[float, str]:
        wanted.set_seq1(name_key(other)[:NAME_CHARS_COMPARED])
        return -wanted.ratio(), other

    return tuple(sorted(known, key=unlikeness))


_ENGLISH = """
hi|hii|hello|hey|heya|hiya|yo|howdy|greetings|good morning|good afternoon|good evening|good night|good day|morning
|evening|hi there|hello there|hey there|hi all|hello all|hello everyone|hi everyone|hello world|hello again|hi again
|welcome back|thanks|thank you|thank you very much|thank you so much|thanks a lot|thanks so much|many thanks|thx|ty
|cheers|much appreciated|you're welcome|no problem|bye|bye bye|goodbye|good bye|see you|see you later|see ya|cya
|take care|have a nice day
|have a good day|how are you|how are you doing|how are you today|how's it going|how is it going|what's up|whats up|sup
|how do you do|nice to meet you|pleased to meet you|who are you|what are you|what's your name|what is your name
|what can you do|what can you help me with|can you help me|are you there|anybody there|anyone there|is anyone there
"""
_CHINESE = """
你好|您好|妳好|你们好|大家好|哈喽|哈啰|哈罗|嗨|喂|早|早安|早上好|上午好|中午好|下午好|晚上好|晚安|好久不见
|谢谢|谢谢你|谢谢您|多谢|感谢|非常感谢|谢啦|谢了|辛苦了|不客气|再见|拜拜|回头见|明天见|下次见
|你好吗|您好吗|最近好吗|最近怎么样|你怎么样|吃了吗|在吗|在么|在不在|有人吗|有人在吗|你是谁|您是谁|你叫什么|你叫什么名字|您叫什么名字
|你能做什么|你会做什么|你会什么|你可以做什么|你能帮我做什么|你能帮我吗|很高兴认识你|认识你很高兴|请问
|啊|呀|哦|噢|呢|吧|哈|嘿|哈哈|呵呵|嘻嘻
"""


def _phrases(listed: str) -> str:
    names = (name.strip() for name in listed.split("|"))
    # Longest first and atomic: no backtracking, so the time is linear in the message.
    return "|".join(re.escape(name).replace(r"\ ", r"\W+") for name in sorted(names, key=len, reverse=True))


_SEPARATORS = r"[\W_]*+"
_SMALL_TALK = re.compile(
    rf"{_SEPARATORS}(?:(?>(?<![a-z0-9])(?:{_phrases(_ENGLISH)})(?![a-z0-9])|{_phrases(_CHINESE)}){_SEPARATORS})++"
)


def is_small_talk(message: str) -> bool:
    """Whether the message is nothing but greetings and courtesies, in English or Chinese; at most 80 characters."""
    if len(message) > SMALL_TALK_CHARS_MAX:
        return False
    plain = unicodedata.normalize("NFKC", message).casefold().replace("’", "'")
    return _SMALL_TALK.fullmatch(plain) is not None
