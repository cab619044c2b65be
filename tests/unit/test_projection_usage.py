"""What counts as use, and to whom."""

from datetime import timedelta

import msgspec
import pytest

from app.core import events as ev
from app.core.messages import ModelAnswer, Usage
from projections import usage
from projections.projection import fold_all
from projections.usage import UsageHour
from tests.support.projected import START, Book, requested, task

SALES = {"charged_to": "sales", "bound": True}


def answered(prompt: int, completion: int, cost: float | None = None, **charged: object) -> ev.ModelAnswered:
    answer = ModelAnswer("m", "yes", usage=Usage(prompt, completion))
    return ev.ModelAnswered(1, "k", answer, cost_usd=cost, **charged)  # type: ignore[arg-type]


def table(book: Book, projection: usage.Projection[UsageHour]) -> list[UsageHour]:
    return list(fold_all(projection, book.page(projection).entries).values())


def test_messages_tokens_and_cost_of_an_hour_are_added_up_by_department_and_by_user() -> None:
    book = Book()
    for owner in ("alice", "bob"):
        stream = f"conversation/{owner}/c"
        book.add(requested(**SALES), task(1), stream)
        book.add(answered(10, 5, 0.1, **SALES), task(1), stream)
        failed = ("timeout", "late", 3, Usage(1, 0), 0.2)
        book.add(ev.ModelAttemptFailed(1, "k", 1, "main", "m", *failed, **SALES), task(1), stream)
    assert table(book, usage.BY_DEPARTMENT) == [UsageHour("sales", True, START, 0, 2, 22, 10, 600_000_000)]
    assert table(book, usage.BY_USER) == [
        UsageHour("alice", True, START, 0, 1, 11, 5, 300_000_000),
        UsageHour("bob", True, START, 0, 1, 11, 5, 300_000_000),
    ]


def test_members_of_teams_and_operations_are_no_messages_but_what_they_use_counts() -> None:
    book = Book()
    book.add(requested(**SALES), task(1))
    book.add(requested(parent=str(task(1)), **SALES), task(2))
    book.add(answered(1, 1, **SALES), task(2))
    assert table(book, usage.BY_DEPARTMENT) == [UsageHour("sales", True, START, 0, 1, 1, 1, 0)]


def test_use_that_quotas_do_not_bind_is_kept_by_itself() -> None:
    book = Book()
    book.add(requested(), task(1))
    book.add(answered(1, 2), task(1))
    book.add(answered(4, 8, bound=True), task(1))
    assert table(book, usage.BY_USER) == [
        UsageHour("alice", False, START, 0, 1, 1, 2, 0),
        UsageHour("alice", True, START, 0, 0, 4, 8, 0),
    ]


def test_an_hour_and_a_partition_have_rows_of_their_own() -> None:
    book = Book()
    book.add(requested(**SALES), task(1))
    later = msgspec.structs.replace(
        book.add(requested(**SALES), task(2)), recorded_at=START + timedelta(hours=1)
    )
    elsewhere = msgspec.structs.replace(book.recorded[0], partition=1)
    book.recorded = [book.recorded[0], later, elsewhere]
    assert table(book, usage.BY_DEPARTMENT) == [
        UsageHour("sales", True, START, 0, 1),
        UsageHour("sales", True, START + timedelta(hours=1), 0, 1),
        UsageHour("sales", True, START, 1, 1),
    ]


def test_a_deleted_conversation_was_used_all_the_same() -> None:
    book = Book()
    book.add(requested(**SALES), task(1))
    book.add(ev.ConversationDeleted("c1"))
    assert table(book, usage.BY_USER) == [UsageHour("alice", True, START, 0, 1)]


def test_cost_is_added_up_exactly() -> None:
    book = Book()
    for _ in range(10):
        book.add(answered(0, 0, 0.1, **SALES), task(1))
    (row,) = table(book, usage.BY_DEPARTMENT)
    assert row.cost_nano_usd / usage.NANO == 1.0
    assert sum([0.1] * 10) < 1.0  # as floats would have it


@pytest.mark.parametrize(("prompt", "cost"), [(-5, -1.0), (10**18, 1e300)])
def test_what_no_provider_can_mean_does_not_stop_the_view(prompt: int, cost: float) -> None:
    book = Book()
    book.add(answered(prompt, 0, cost, **SALES), task(1))
    (row,) = table(book, usage.BY_DEPARTMENT)
    assert 0 <= row.prompt_tokens <= usage.TOKENS_MAX
    assert 0 <= row.cost_nano_usd <= usage.COST_USD_MAX * usage.NANO
