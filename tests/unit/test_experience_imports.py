"""What an imported conversation counts as: its outcome by the reward, its work by the assistant's messages."""

import msgspec
import pytest

from app.core.events import ConversationImported, MessageImported
from projections import experiences
from projections.experience_imports import ImportedWork, imported_id, outcome_of, work_of
from projections.experiences import Experience, ToolUse
from projections.projection import fold_all
from tests.support.projected import STREAM, Book, said


def head(fields: str) -> ConversationImported:
    return ConversationImported("source", msgspec.Raw(fields.encode()))


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ('{"reward": 1}', "success"),
        ('{"reward": 1.0}', "success"),
        ('{"reward": 1e400}', None),
        (f'{{"reward": {10**300}}}', "success"),
        ('{"reward": 0.99}', "failure"),
        ('{"reward": 0}', "failure"),
        ('{"reward": -3}', "failure"),
        ('{"reward": true}', None),
        ('{"reward": "1"}', None),
        ('{"reward": null}', None),
        ("{}", None),
    ],
)
def test_the_reward_says_how_it_ended(fields: str, outcome: str | None) -> None:
    assert outcome_of(head(fields)) == outcome


def test_work_is_what_the_assistant_has_done() -> None:
    calls = [
        {"function": {"name": "search"}},
        {"function": {"name": 7}},
        {},
        {"function": {"name": "search"}},
    ]
    message = MessageImported(0, said("assistant", None, tool_calls=calls))
    assert work_of(message) == ImportedWork(1, ("search", "unknown", "unknown", "search"))
    assert work_of(MessageImported(0, said("assistant", "Good morning"))) == ImportedWork(1, ())
    assert work_of(MessageImported(0, said("user", "Hi", tool_calls=calls))) == ImportedWork(0, ())


def test_a_conversation_with_a_reward_is_one_experience_and_one_without_is_none() -> None:
    calls = [{"function": {"name": "search"}}]
    for fields, expected in (('{"reward": 0}', ("failure", 2, 2, {"search": ToolUse(2)})), ("{}", None)):
        book = Book()
        book.add(head(fields))
        book.add(MessageImported(0, said("user", "Hi")))
        for index in (1, 2):
            book.add(MessageImported(index, said("assistant", None, tool_calls=calls)))
        row = fold_all(experiences.PROJECTION, book.page(experiences.PROJECTION).entries).get(
            (imported_id(STREAM),)
        )
        assert (row and (row.outcome, row.steps, row.tool_calls, row.tools)) == expected
        assert row is None or (isinstance(row, Experience) and row.task_type == "imported")
