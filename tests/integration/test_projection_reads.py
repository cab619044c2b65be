"""What the read queries give, from real tables."""

from uuid import UUID

import pytest

from app.core import events as ev
from app.core.messages import ModelAnswer
from projections import conversations, tasks, transcript
from projections.runner import ProjectionRunner
from tests.support.projected import Book, reads, requested, said, task, write


def stream(owner: str, conversation_id: str) -> str:
    return f"conversation/{owner}/{conversation_id}"


def fold(dsn: str, book: Book) -> None:
    write(dsn, book.recorded)
    ProjectionRunner(dsn).run_to_end()


def says(book: Book, owner: str, conversation_id: str, *texts: str) -> None:
    for text in texts:
        number = len(book.recorded)
        book.add(ev.MessageReceived(f"m{number}", text), stream=stream(owner, conversation_id))


async def test_an_owner_lists_and_gets_only_their_own(dsn: str) -> None:
    book = Book()
    says(book, "alice", "1", "first")
    says(book, "bob", "1", "hers?")
    says(book, "alice", "2", "second")
    says(book, "alice", "1", "again")
    fold(dsn, book)
    async with reads(dsn) as pool:
        listed = await conversations.list_by_owner(pool, "alice")
        assert [(row.conversation_id, row.title, row.message_count) for row in listed] == [
            ("1", "first", 2),
            ("2", "second", 1),
        ]
        assert await conversations.count_by_owner(pool, "alice") == 2
        assert (await conversations.get(pool, "bob", "1")).title == "hers?"
        assert await conversations.get(pool, "bob", "2") is None


async def test_the_list_is_paged_by_cursor(dsn: str) -> None:
    book = Book()
    for number in range(7):
        says(book, "alice", str(number), "hi")
    fold(dsn, book)
    seen: list[str] = []
    async with reads(dsn) as pool:
        cursor = None
        while page := await conversations.list_by_owner(pool, "alice", limit=3, before=cursor):
            seen += [row.conversation_id for row in page]
            cursor = page[-1].cursor
        assert await conversations.list_by_owner(pool, "alice", limit=0) == []
    assert seen == [str(number) for number in reversed(range(7))]


async def test_a_page_has_the_newest_messages_in_their_order(dsn: str) -> None:
    book = Book()
    says(book, "alice", "1", *(f"text {number}" for number in range(9)))
    fold(dsn, book)
    async with reads(dsn) as pool:
        page = await transcript.page(pool, "alice", "1", limit=4)
        assert [message.content for message in page.messages] == ["text 5", "text 6", "text 7", "text 8"]
        assert page.head == 9
        older = await transcript.page(pool, "alice", "1", limit=2, before=page.messages[0].metadata["offset"])
        assert [message.content for message in older.messages] == ["text 3", "text 4"]
        nothing = await transcript.page(pool, "bob", "1")
        assert (nothing.messages, nothing.head) == ([], 0)


async def test_the_head_of_a_page_counts_what_is_not_shown_yet(dsn: str) -> None:
    book = Book()
    says(book, "alice", "1", "hi")
    book.add(requested(), task(1), stream("alice", "1"))
    book.add(ev.ToolCalled(1, "k", "c", "clock", "{}"), task(1), stream("alice", "1"))
    fold(dsn, book)
    async with reads(dsn) as pool:
        page = await transcript.page(pool, "alice", "1")
    assert (len(page.messages), page.head) == (1, 3)


async def test_roles_that_people_do_not_see_are_there_for_those_who_ask(dsn: str) -> None:
    book = Book()
    calls = [{"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}]
    for index, message in enumerate(
        [
            said("system", "be kind"),
            said("user", "where?"),
            said("assistant", None, tool_calls=calls),
            said("tool", "there", tool_call_id="c1"),
        ]
    ):
        book.add(ev.MessageImported(index, message))
    fold(dsn, book)
    async with reads(dsn) as pool:
        _, answer = (await transcript.page(pool, "alice", "c1")).messages
        assert answer.metadata["tool_calls"][0]["result"] == "there"
        every = await transcript.page(pool, "alice", "c1", roles=("system", "user", "assistant", "tool"))
    assert [message.role for message in every.messages] == ["system", "user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("refund", ["Refund of my flight", "a refund, please"]),
        ("flight refund", ["Refund of my flight"]),
        ("fund", ["Refund of my flight", "a refund, please"]),
        ("退款", ["我想退款谢谢"]),
        ("想退", ["我想退款谢谢"]),
        ("100%", ["it costs 100% more"]),
        ("0%", ["it costs 100% more"]),
        ("%", ["it costs 100% more"]),
        ("_", ["snake_case"]),
        ("\\", ["back\\slash"]),
        ('"quoted', []),
        ("nothing like it", []),
        ("  ", []),
        ("a\0b", []),
    ],
)
async def test_search_finds_words_parts_and_other_scripts(dsn: str, query: str, found: list[str]) -> None:
    book = Book()
    says(book, "alice", "1", "a refund, please", "Refund of my flight", "我想退款谢谢", "it costs 100% more")
    says(book, "alice", "2", "snake_case", "back\\slash")
    says(book, "bob", "1", "refund flight fund 退款 100% snake_case back\\slash")
    book.add(requested("refund"), task(1), stream("alice", "1"))
    book.add(ev.ModelAnswered(1, "k", ModelAnswer("m", "refund")), task(1), stream("alice", "1"))
    fold(dsn, book)
    async with reads(dsn) as pool:
        hits = await transcript.search(pool, "alice", None, query)
        assert [hit.message.content for hit in hits] == found
        assert len(await transcript.search(pool, "alice", None, query, limit=1)) == min(1, len(found))
        elsewhere = await transcript.search(pool, "alice", "3", query)
        assert elsewhere == []


async def test_words_come_before_parts_of_words(dsn: str) -> None:
    book = Book()
    says(book, "alice", "1", "sea", "seaside", "the sea")
    fold(dsn, book)
    async with reads(dsn) as pool:
        hits = await transcript.search(pool, "alice", "1", "sea")
    assert [hit.message.content for hit in hits] == ["the sea", "sea", "seaside"]


async def test_tasks_are_listed_by_filter_and_cursor(dsn: str) -> None:
    book = Book()
    for number in range(6):
        book.add(requested(), task(number), stream("alice", str(number % 2)))
        if number % 3 == 0:
            book.add(ev.RunCompleted(1), task(number), stream("alice", str(number % 2)))
    book.add(requested(), task(9), stream("bob", "1"))
    fold(dsn, book)

    def numbers(rows: list[tasks.Task]) -> list[int]:
        known: dict[UUID, int] = {task(number): number for number in range(6)}
        return [known[row.task_id] for row in rows]

    async with reads(dsn) as pool:
        assert numbers(await tasks.list_by_owner(pool, "alice")) == [5, 4, 3, 2, 1, 0]
        assert numbers(await tasks.list_by_owner(pool, "alice", status="completed")) == [3, 0]
        assert numbers(
            await tasks.list_by_owner(pool, "alice", status=("completed", "pending"), limit=4)
        ) == [
            5,
            4,
            3,
            2,
        ]
        assert await tasks.list_by_owner(pool, "alice", status=("failed", "cancelled")) == []
        assert numbers(await tasks.list_by_owner(pool, "alice", status=())) == [5, 4, 3, 2, 1, 0]
        assert numbers(await tasks.list_by_owner(pool, "alice", conversation_id="1")) == [5, 3, 1]
        assert await tasks.list_by_owner(pool, "alice", agent_name="other") == []
        first = await tasks.list_by_owner(pool, "alice", limit=4)
        second = await tasks.list_by_owner(pool, "alice", limit=4, before=first[-1].cursor)
        assert numbers(second) == [1, 0]
        assert (await tasks.get(pool, task(9))).owner == "bob"
        assert await tasks.get(pool, task(9), owner="alice") is None
        assert await tasks.get(pool, task(77)) is None
