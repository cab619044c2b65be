"""Given the events of boards and teams, what a reload shows of them."""

from typing import Any

import msgspec
import pytest

from app.core import events as ev
from projections import conversations, tasks, transcript
from projections.projection import fold_all
from projections.transcript import Card
from tests.support import meetings as told
from tests.support.meetings import BOARD, RESEARCH, TEAM
from tests.support.projected import Book, task


def cards(book: Book) -> list[Card]:
    """Shown ones, in their order."""
    rows = fold_all(transcript.PROJECTION, book.page(transcript.PROJECTION).entries).values()
    return sorted((row for row in rows if row.shown_offset), key=lambda row: row.shown_offset)


def metadata(card: Card) -> dict[str, Any]:
    return msgspec.json.decode(msgspec.json.encode(card.metadata))


def record(book: Book, task_id: object) -> tasks.Task:
    return fold_all(tasks.PROJECTION, book.page(tasks.PROJECTION).entries)[(task_id,)]


def conversation(book: Book) -> conversations.Conversation:
    (row,) = fold_all(conversations.PROJECTION, book.page(conversations.PROJECTION).entries).values()
    return row


def test_what_is_said_in_a_board_is_a_message_each() -> None:
    shown = cards(told.whole_board(Book()))
    assert [(card.role, card.metadata.message_type, card.content) for card in shown] == [
        ("user", None, "@board boats"),
        ("assistant", "board_started", "boats"),
        ("assistant", "board_speech", "Welcome."),
        ("assistant", "board_speech", "Build one."),
        ("assistant", "board_summary", "One wants boats."),
        ("assistant", "board_conclusion", "# Boats are wanted."),
    ]
    _, started, opening, speech, summary, conclusion = map(metadata, shown)
    assert started["board_started"].keys() == {"team_id", "topic", "experts", "max_rounds"}
    assert opening.items() >= {"expert_id": "ana", "board_round": 0, "board_role": "moderator"}.items()
    cut = {"expert_id": "bo", "board_round": 1, "board_role": "expert", "status": "interrupted"}
    assert speech.items() >= {**cut, "task_id": str(BOARD)}.items()
    assert summary.items() >= {"expert_id": "ana", "board_role": "moderator", "consensus": True}.items()
    assert conclusion["board_conclusion"]["dissent_points"] == ["Too dear (Ana, Bo)", "Too slow"]
    assert [step["name"] for step in conclusion["steps"]] == [
        "user_intervention",
        "speaker_interrupted",
        "expert_silent",
    ]
    assert conclusion["experts"][0]["name"] == "Ana"
    assert "thinking" not in conclusion, "a speaker's thoughts are not the assistant's"
    assert len({card.id for card in shown}) == len(shown)


@pytest.mark.parametrize("end", [ev.RunFailed("timeout", "Too slow."), ev.RunCancelled("user:alice")])
def test_a_board_without_a_conclusion_keeps_what_was_said(end: ev.RunFailed | ev.RunCancelled) -> None:
    book = told.board(Book())
    book.add(end, BOARD)
    last = cards(book)[-1]
    assert (last.metadata.message_type, last.metadata.status) == (
        None,
        "failed" if isinstance(end, ev.RunFailed) else "cancelled",
    )
    assert [card.metadata.message_type for card in cards(book)[1:3]] == ["board_started", "board_speech"]


def test_a_team_is_one_message_with_its_cards_in_their_order() -> None:
    asked, answer = cards(told.whole_team(Book()))
    assert (asked.role, answer.content) == ("user", "There are two boats.")
    found = metadata(answer)
    assert "message_type" not in found
    assert [step["name"] for step in found["steps"]] == [
        "team_formed",
        "plan_update",
        "collaboration_contract_defined",
        "risk_flagged",
        "phase_started",
        "phase_started",
        "phase_failed",
        "replanning",
        "review_result",
        "phase_completed",
        "collaboration_notice",
        "team_synthesis",
        "team_dissolved",
    ]
    assert found["steps"][4]["data"]["expert_name"] == "Bo"
    assert [one["name"] for one in found["experts"]] == ["Ana", "Bo", "Cy"]
    assert found["children"][0] == str(RESEARCH)
    assert "thinking" not in found, "plans and reviews are between the lead and the model"


def test_a_members_run_is_kept_and_never_shown_by_itself() -> None:
    for end in (ev.RunCompleted(), ev.RunFailed("timeout", "Slow."), ev.RunCancelled("system")):
        book = told.team(Book())
        told.work(book, RESEARCH, "Two boats.")
        book.recorded.pop()
        book.add(end, RESEARCH)
        rows = fold_all(transcript.PROJECTION, book.page(transcript.PROJECTION).entries)
        row = rows["alice", "c1", f"task/{RESEARCH.hex}"]
        assert (row.shown_offset, row.content, row.metadata.expert_id) == (None, "Two boats.", "bo")
        assert row.metadata.thinking == "Hm.\n\nLet me count."
        assert [call.result for call in row.metadata.tool_calls] == ["2"]
        assert len(cards(book)) == 1


def test_the_count_is_that_of_the_messages_shown_and_a_board_is_one() -> None:
    for whole, is_board in ((told.whole_board, True), (told.whole_team, False)):
        book = whole(Book())
        row = conversation(book)
        assert (row.message_count, row.is_board, row.open_tasks) == (len(cards(book)), is_board, ())


def test_a_board_in_a_conversation_that_began_otherwise_makes_it_one() -> None:
    book = Book()
    book.add(ev.MessageReceived("m0", "hello"))
    told.board(book)
    assert (conversation(book).is_board, conversation(book).title) == (True, "hello")


def test_what_a_board_says_after_its_conversation_was_deleted_counts_no_more() -> None:
    book = told.board(Book())
    book.add(ev.ConversationDeleted("c1"))
    book.add(ev.MessageReceived("m2", "again"))
    book.add(ev.ExpertSpoke("bo", "Late.", 1, step=40), BOARD)
    assert conversation(book).message_count == 1
    rows = fold_all(transcript.PROJECTION, book.page(transcript.PROJECTION).entries)
    assert ("alice", "c1", f"task/{BOARD.hex}") not in rows, (
        "by which readers know that it is not to be shown"
    )


def test_a_board_is_as_far_as_its_rounds() -> None:
    book, seen = Book(), list[float]()
    told.board(book, rounds=2)
    for end in range(len(book.recorded)):
        if book.recorded[end].type in ("board.started", "board.round_summarized", "board.expert_spoke"):
            part = Book()
            part.recorded = book.recorded[: end + 1]
            seen.append(record(part, BOARD).progress)
    assert seen == [0.0, 0.0, 0.0, 0.5, 0.5, 0.95]
    row = record(book, BOARD)
    assert (row.metadata.rounds, row.metadata.rounds_held, row.progress_message) == (2, 2, "2/2")


def test_a_team_is_as_far_as_its_phases() -> None:
    book = told.team(Book())
    row = record(book, TEAM)
    assert (row.progress, row.progress_message) == (0.0, "Write")
    assert row.metadata.phases == {"p1": "running", "p2": "running"}
    row = record(told.whole_team(Book()), TEAM)
    assert (row.status, row.progress, row.metadata.phases) == (
        "completed",
        1.0,
        {"p1": "completed", "p2": "failed"},
    )


def test_a_members_run_is_a_task_with_its_parent_and_its_experts_name() -> None:
    row = record(told.whole_team(Book()), RESEARCH)
    assert (row.metadata.parent, row.agent_name, row.status) == (str(TEAM), "Bo", "completed")
    assert row.output_data == tasks.TaskOutput("Two boats.", "m1")


def test_a_word_to_a_meeting_is_a_message_of_the_persons_and_nothing_else() -> None:
    book = told.board(Book())
    before = len(cards(book))
    book.add(ev.MessageReceived("m2", "Mind the cost."), task(200))
    book.add(told.asked("react", "Mind the cost.", steers=str(BOARD)), task(200))
    book.add(ev.RunMerged(str(BOARD), "m2"), task(200))
    assert [(card.role, card.content) for card in cards(book)[before:]] == [("user", "Mind the cost.")]
