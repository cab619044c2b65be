"""Expert files: what is read of a good one, and what is said of a bad one."""

from pathlib import Path

import pytest

from app.core.events import ExpertCard
from app.experts.expert import COLOR, Expert, Words, parse_expert
from app.skills.fields import BadFile

FILE = Path("experts/rain-maker.toml")
PERSONA = 'persona = "You make it rain."\n'


def expert(content: str, file: Path = FILE) -> Expert:
    return parse_expert(file, content.encode())


def test_an_expert_with_the_least_there_is_is_called_after_the_file() -> None:
    found = expert(PERSONA)
    assert found == Expert("rain-maker", Words("Rain Maker", "You make it rain."), color=COLOR)
    assert found.called == ("rain-maker", "Rain Maker")


def test_an_expert_with_all_there_is() -> None:
    found = expert(
        'name = "Rain"\navatar = "🌧️"\ncolor = "#A0B1C2"\nrules = "Be brief."\nskills = ["research"]\nmodel = "m"\n'
        f'is_moderator = true\n{PERSONA}[zh]\nname = "雨师"\npersona = "你会求雨。"'
    )
    assert found.card("en", skill_prompt="Look it up.", tools=["search"]) == ExpertCard(
        "rain-maker",
        "Rain",
        "🌧️",
        "#a0b1c2",
        "You make it rain.",
        "Be brief.",
        ("research",),
        "m",
        True,
        "Look it up.",
        ("search",),
    )
    chinese = found.card("zh")
    assert (chinese.name, chinese.persona, chinese.rules) == ("雨师", "你会求雨。", "Be brief.")
    assert found.called == ("rain-maker", "Rain", "雨师")


def test_the_file_may_come_from_another_system() -> None:
    found = parse_expert(Path("e/雨.toml"), ("\ufeff" + PERSONA.replace("\n", "\r\n")).encode())
    assert (found.id, found.english.name) == ("雨", "雨")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["'persona' is missing", "1-8000", "persona ="]),
        ("persona = 3", ["'persona' is 3", "in quotes"]),
        (f'persona = "{"x" * 8_001}"', ["'persona'", "8001"]),
        (PERSONA + "moderator = true", ["'moderator'", "not known", "did you mean 'is_moderator'?"]),
        (PERSONA + 'is_moderator = "yes"', ["'is_moderator'", "'yes'", "true or false"]),
        (PERSONA + "is_moderator = 1", ["'is_moderator'", "true or false"]),
        (PERSONA + 'color = "red"', ["'color'", "'red'", "six hex digits", COLOR]),
        (PERSONA + 'color = "#12345g"', ["'color'", "six hex digits"]),
        (PERSONA + f'name = "{"x" * 41}"', ["'name'", "41"]),
        (PERSONA + 'name = "a,b"', ["'name'", "'a,b'", "names stand in commands"]),
        (PERSONA + 'name = "a\\nb"', ["'name'", "one line"]),
        (PERSONA + '[zh]\nname = "甲：乙"', ["'zh.name'", "names stand in commands"]),
        (PERSONA + '[zh]\ncolor = "#000000"', ["'zh.color'", "not known"]),
        (PERSONA + 'zh = "雨"', ["'zh'", "a table"]),
        (PERSONA + f'avatar = "{"x" * 17}"', ["'avatar'", "17"]),
        (PERSONA + 'skills = ["a b"]', ["'skills'", "at most 8"]),
        (PERSONA + f"skills = {[f's{n}' for n in range(9)]}", ["'skills'", "at most 8"]),
        ("persona = ", ["not valid TOML", "persona ="]),
    ],
)
def test_a_bad_field_is_named_with_its_value_and_an_example(content: str, parts: list[str]) -> None:
    with pytest.raises(BadFile) as caught:
        expert(content)
    for part in (str(FILE), *parts):
        assert part in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_what_is_no_text_and_what_is_no_name_is_said() -> None:
    with pytest.raises(BadFile, match="UTF-8"):
        parse_expert(FILE, b'persona = "\xff"')
    with pytest.raises(BadFile, match="1-64 letters"):
        expert(PERSONA, Path("experts/a b.toml"))
