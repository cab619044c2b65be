"""Boards and teams as readers get them, from real tables."""

from app.core import events as ev
from projections import transcript
from projections.runner import ProjectionRunner
from tests.support import meetings as told
from tests.support.meetings import BOARD, FACE_OF_BO, RESEARCH, WRITE
from tests.support.projected import Book, reads, write


def fold(dsn: str, book: Book) -> None:
    write(dsn, book.recorded)
    ProjectionRunner(dsn).run_to_end()


async def test_a_speech_has_the_name_and_the_face_of_who_made_it(dsn: str) -> None:
    fold(dsn, told.whole_board(Book()))
    async with reads(dsn) as pool:
        page = await transcript.page(pool, "alice", "c1")
        listed = await transcript.listed(pool, "alice", "c1")
        (found,) = await transcript.search(pool, "alice", None, "build one")
        alone = await transcript.page(
            pool, "alice", "c1", limit=1, before=page.messages[4].metadata["offset"]
        )
    assert page.messages == listed
    for speech in (page.messages[3], found.message, alone.messages[0]):
        assert speech.content == "Build one."
        assert speech.metadata.items() >= {**FACE_OF_BO, "message_type": "board_speech"}.items()
    assert page.messages[4].metadata["expert_name"] == "Ana"


async def test_the_answer_of_a_team_has_what_its_members_did(dsn: str) -> None:
    fold(dsn, told.whole_team(Book()))
    async with reads(dsn) as pool:
        _, answer = (await transcript.page(pool, "alice", "c1")).messages
    research, writing = answer.metadata["expert_runs"]
    assert (research["task_id"], research["content"]) == (str(RESEARCH), "Two boats.")
    assert research.items() >= FACE_OF_BO.items()
    assert [call["name"] for call in research["tool_calls"]] == ["calculator"]
    assert (writing["task_id"], writing["expert_name"], writing["content"]) == (str(WRITE), "Cy", "")
    assert "children" not in answer.metadata


async def test_what_is_said_after_a_deletion_is_not_shown_where_the_conversation_begins_anew(
    dsn: str,
) -> None:
    """Guard: the look for the meeting's own row, in every read."""
    book = told.board(Book())
    book.add(ev.ConversationDeleted("c1"))
    book.add(ev.MessageReceived("m2", "again"))
    book.add(ev.ExpertSpoke("bo", "Too late again.", 1, step=40), BOARD)
    fold(dsn, book)
    async with reads(dsn) as pool:
        page = await transcript.page(pool, "alice", "c1")
        listed = await transcript.listed(pool, "alice", "c1")
        found = await transcript.search(pool, "alice", "c1", "again")
        part = await transcript.search(pool, "alice", "c1", "gai")
    assert [message.content for message in page.messages] == ["again"]
    assert listed == page.messages
    assert [one.message.content for one in (*found, *part)] == ["again", "again"]
    assert page.head == book.recorded[-1].offset
