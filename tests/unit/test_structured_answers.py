"""JSON within a model's answer: repaired where there is no doubt, else refused with a word for the model."""

import msgspec
import pytest

from app.core.structured import TEXT_CHARS_MAX, Malformed, read_answer


class Item(msgspec.Struct, frozen=True):
    name: str = "nobody"


class Answer(msgspec.Struct, frozen=True):
    summary: str
    items: tuple[Item, ...] = ()


EXACT = '{"summary": "yes", "items": [{"name": "Ada"}]}'


@pytest.mark.parametrize(
    "text",
    [
        EXACT,
        f"```json\n{EXACT}\n```",
        f"```\n{EXACT}",
        f"Here it is:\n\n{EXACT}\n\nI hope that this helps.",
        f"The set {{x}}: {EXACT} {{you}}",
        '{"summary": "yes", "items": [{"name": "Ada"}], "more": 1}',
        '\ufeff{\n "summary": "yes",\n "items": [ { "name": "Ada" } ]\n}',
    ],
)
def test_the_one_object_is_found_whatever_stands_around_it(text: str) -> None:
    assert read_answer(text, Answer) == Answer("yes", (Item("Ada"),))


def test_a_line_break_within_a_string_is_taken_as_it_is() -> None:
    assert read_answer('{"summary": "one\ntwo"}', Answer) == Answer("one\ntwo")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no JSON object"),
        ("I agree.", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        (f"{EXACT}\n{EXACT}", "2 JSON objects"),
        ('{"summary": "yes", "items": [{"name": "Ada"}', "not valid"),
        ('{"summary": "yes", "items": [{"name": "Ada"}], oops}', "not valid"),
        ("{'summary': 'yes', 'items': [{\"name\": \"Ada\"}]}", "not valid"),
        ('{summary: "yes"}', "not valid"),
        ('{"summary": NaN}', "NaN"),
        ('{"summary": "yes",}', "not valid"),
        ('{"items": []}', "missing required field `summary`"),
        ('{"summary": 3}', "Expected `str`, got `int`"),
        ('{"summary": "yes", "items": "Ada"}', "Expected `array`"),
        ('{"summary": "yes", "items": [{"name": null}]}', "$.items[0].name"),
        ('{"summary":' + "[" * 100_000, "nested too deeply"),
        ("x" * (TEXT_CHARS_MAX + 1), "at most"),
    ],
)
def test_anything_else_is_refused_and_says_why(text: str, word: str) -> None:
    with pytest.raises(Malformed) as refused:
        read_answer(text, Answer)
    assert word in str(refused.value)


def test_what_stands_within_a_broken_object_is_never_the_answer() -> None:
    with pytest.raises(Malformed):
        read_answer('{"summary": "yes" "items": [{"name": "Ada"}]}', Item)
