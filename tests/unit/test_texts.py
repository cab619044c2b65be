"""Texts for people exist in both languages and take the same values."""

import string

import pytest

from app.core import texts


def placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("key", texts._TEXTS)
def test_both_languages_say_something_and_take_the_same_values(key: str) -> None:
    english, chinese = texts._TEXTS[key]
    assert english.strip()
    assert any(ord(character) > 0x2E80 for character in chinese)
    assert placeholders(chinese) <= placeholders(english)


def test_a_text_is_picked_by_locale() -> None:
    assert texts.text("conversation") == "conversation"
    assert texts.text("conversation", "zh") == "对话"
