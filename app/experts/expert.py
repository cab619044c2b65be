"""An expert: somebody with a view of their own who sits on boards and works in teams. `ID.toml` describes one."""

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import msgspec

from app.agents.routing import name_key
from app.core.events import ExpertCard
from app.core.messages import storable
from app.core.texts import Locale
from app.skills.fields import BadFile, Fields, read_toml

SUFFIX = ".toml"
NAME_CHARS_MAX = 40
AVATAR_CHARS_MAX = 16
PERSONA_CHARS_MAX = 8_000
SKILLS_MAX = 8
COLOR = "#64748b"
FIELDS = ("name", "avatar", "color", "persona", "rules", "skills", "model", "is_moderator", "zh")
TRANSLATED = ("name", "persona", "rules")
EXAMPLE = 'persona = "You ask what it costs."'
_ID = re.compile(r"\w[\w-]{0,63}")
_COLOR = re.compile(r"#[0-9a-fA-F]{6}")
_NOT_IN_NAMES = re.compile(r"[,，、:：@]")
_SKILL = re.compile(r"[\w-]{1,64}")


class Words(msgspec.Struct, frozen=True):
    """What of an expert is said in a language. `name` is what people call them, `persona` who they are to the model,
    `rules` how they speak."""

    name: str
    persona: str
    rules: str = ""


class Expert(msgspec.Struct, frozen=True):
    """`id` is the name of the file. `avatar` is an emoji, `color` `#rrggbb`. `chinese` None: as in English. `skills`
    may name some that are not there (now); `model` None: the default."""

    id: str
    english: Words
    avatar: str = ""
    color: str = COLOR
    skills: tuple[str, ...] = ()
    model: str | None = None
    is_moderator: bool = False
    chinese: Words | None = None

    def words(self, locale: Locale) -> Words:
        return self.chinese if locale == "zh" and self.chinese is not None else self.english

    @property
    def called(self) -> tuple[str, ...]:
        """All that the expert answers to: the id and the name in each language."""
        chinese = (self.chinese.name,) if self.chinese is not None else ()
        return tuple(dict.fromkeys((self.id, self.english.name, *chinese)))

    def card(
        self, locale: Locale, *, skill_prompt: str = "", tools: Sequence[str] | None = None
    ) -> ExpertCard:
        """The expert as a run is given them."""
        words = self.words(locale)
        return ExpertCard(
            self.id,
            words.name,
            self.avatar,
            self.color,
            words.persona,
            words.rules,
            self.skills,
            self.model,
            self.is_moderator,
            skill_prompt,
            None if tools is None else tuple(tools),
        )


def expert_key(name: str) -> str:
    """What two names have in common that are the same but for case, width, and how their words are joined."""
    return re.sub(r"[\s_-]+", "", name_key(name))


def parse_expert(file: Path, data: bytes) -> Expert:
    """The expert of this file. Raises `BadFile`."""
    fields = Fields(file, read_toml(file, data, example=EXAMPLE))
    fields.only(FIELDS)
    name = _id(file)
    english = _words(fields, Words(name.replace("_", " ").replace("-", " ").title(), ""))
    chinese = fields.table("zh", example='[zh]\\nname = "工程师"')
    chinese.only(TRANSLATED)
    return Expert(
        name,
        english,
        _avatar(fields),
        _color(fields),
        _skills(fields),
        fields.text("model", 200, default="", example='model = "gpt-4o-mini"') or None,
        _flag(fields, "is_moderator"),
        _words(chinese, english) if "zh" in fields else None,
    )


def _id(file: Path) -> str:
    stem = unicodedata.normalize("NFC", file.name.removesuffix(SUFFIX))
    if not _ID.fullmatch(stem):
        raise BadFile(file, "its name has to be 1-64 letters, digits, '_' or '-'.", example="engineer.toml")
    return stem


def _words(fields: Fields, default: Words) -> Words:
    """Without a `default` persona there has to be one."""
    example = 'name = "Engineer"'
    name = fields.text("name", NAME_CHARS_MAX, default=default.name, example=example)
    if not name.isprintable() or _NOT_IN_NAMES.search(name):
        raise fields.bad(
            "name", "one line without ',', '、', ':' and '@': names stand in commands", example=example
        )
    return Words(
        name,
        fields.text("persona", PERSONA_CHARS_MAX, default=default.persona or None, example=EXAMPLE),
        fields.text(
            "rules", PERSONA_CHARS_MAX, default=default.rules, example='rules = "At most 150 words a speech."'
        ),
    )


def _avatar(fields: Fields) -> str:
    avatar = fields.text("avatar", AVATAR_CHARS_MAX, default="", example='avatar = "🛠️"')
    return storable(avatar)


def _color(fields: Fields) -> str:
    example = f'color = "{COLOR}"'
    color = fields.text("color", 7, default=COLOR, example=example)
    if not _COLOR.fullmatch(color):
        raise fields.bad("color", "'#' and six hex digits", example=example)
    return color.lower()


def _skills(fields: Fields) -> tuple[str, ...]:
    example = 'skills = ["research", "fact-check"]'
    skills = fields.names("skills", example=example) or ()
    if len(skills) > SKILLS_MAX or not all(map(_SKILL.fullmatch, skills)):
        raise fields.bad("skills", f"at most {SKILLS_MAX} names of skills", example=example)
    return skills


def _flag(fields: Fields, field: str) -> bool:
    value = fields[field]
    if value is not None and not isinstance(value, bool):
        raise fields.bad(field, "true or false", example=f"{field} = true")
    return bool(value)
