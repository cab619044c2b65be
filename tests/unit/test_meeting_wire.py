"""Contract section 4: what each event of a board or team is to clients, on the portal and in a session alike."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest

from app.api.chat_wire import SessionFrames
from app.api.meeting_wire import FRAMES
from app.api.portal_wire import Turn, socket_frame
from app.core import events as ev
from app.core.messages import ModelAnswer, ToolCall
from app.log.subscribe import Delta
from app.runs.record import outcome_id
from tests.support import meetings as told
from tests.support.meetings import BOARD, FACE_OF_BO, RESEARCH, TEAM, WRITE
from tests.support.projected import START, Book, task

WORD = task(200)
Frame = dict[str, Any]


def of_portal(book: Book, task_id: UUID, *, after: int = 0) -> list[Frame]:
    turn = Turn("en", after=after)
    wanted = (one for one in book.recorded if one.task_id == task_id or turn.meeting.concerns(one))
    return [
        socket_frame(shown, str(task_id)) for one in wanted for shown in turn.show(one) if one.offset > after
    ]


def of_session(book: Book, task_id: UUID, *, after: int = 0) -> list[Frame]:
    frames = SessionFrames("en", after=after)
    return [frame for one in book.recorded for frame in frames.show(one)]


Surface = Callable[..., list[Frame]]
surfaces = pytest.mark.parametrize("surface", [of_portal, of_session], ids=["portal", "session"])


def kinds(frames: list[Frame]) -> list[str]:
    return [frame["type"] for frame in frames]


def of_type(frames: list[Frame], kind: str) -> list[Frame]:
    return [frame["data"] for frame in frames if frame["type"] == kind]


def meeting(frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if frame["type"] in FRAMES]


@surfaces
def test_a_board_from_its_start_to_its_conclusion(surface: Surface) -> None:
    frames = surface(told.whole_board(Book()), BOARD)
    assert kinds(meeting(frames)) == [
        "board_started",
        "expert_speech",
        "user_intervention",
        "expert_speech",
        "round_summary",
        "board_concluded",
    ]
    assert all(frame["task_id"] == str(BOARD) and frame["offset"] for frame in meeting(frames))
    started, opening, word, speech, summary, conclusion = (frame["data"] for frame in meeting(frames))
    bo = {
        "id": "bo",
        "name": "Bo",
        "avatar": "🐻",
        "color": "#445566",
        "is_moderator": False,
        "persona": "Builds.",
    }
    assert started["experts"][1] == bo, "what an expert is told is nobody else's business"
    assert (started["team_id"], started["topic"], started["max_rounds"]) == (str(BOARD), "boats", 1)
    assert (opening["expert_name"], opening["round"], opening["role"]) == ("Ana", 0, "moderator")
    assert word == {"content": "Mind the cost.", "round": 1}
    assert speech == {
        **FACE_OF_BO,
        "content": "Build one.",
        "round": 1,
        "role": "expert",
        "interrupted": True,
    }
    face = {
        "moderator_id": "ana",
        "moderator_name": "Ana",
        "moderator_avatar": "🦉",
        "moderator_color": "#112233",
    }
    assert summary == {**face, "content": "One wants boats.", "round": 1, "consensus": True}
    assert conclusion == {
        "team_id": str(BOARD),
        "summary": "Boats are wanted.",
        "decision_advice": "Build one.",
        "total_rounds": 1,
        "consensus_points": ["Boats float."],
        "dissent_points": ["Too dear (Ana, Bo)", "Too slow"],
        "dissent": [{"point": "Too dear", "who": ["Ana", "Bo"]}, {"point": "Too slow", "who": []}],
        "votes": [{"expert": "Bo", "vote": "yes", "reason": "fast"}],
        "stopped_by": "consensus",
    }
    assert msgspec.json.encode(frames)


@surfaces
def test_the_answer_comes_behind_the_conclusion_and_no_speech_is_told_as_thinking(surface: Surface) -> None:
    """Guard: a speech's model call, whose text is no thinking of the assistant's."""
    frames = surface(told.whole_board(Book()), BOARD)
    names = [frame["data"]["event_type"] for frame in frames if frame["type"] == "step"]
    assert names[:2] == ["turn.speaker_interrupted", "turn.expert_silent"]
    assert "thinking" not in kinds(frames)
    assert "turn.thinking" not in names
    last = [kind for kind in kinds(frames) if kind != "step"][-2:]
    assert last == (["board_concluded", "result"] if surface is of_portal else ["token", "final_answer"])


@surfaces
def test_a_team_from_its_forming_to_its_end(surface: Surface) -> None:
    frames = surface(told.whole_team(Book()), TEAM)
    assert kinds(meeting(frames)) == [
        "team_formed",
        "plan_update",
        "collaboration_contract_defined",
        "risk_flagged",
        "plan_step",
        "phase_started",
        "plan_step",
        "phase_started",
        "plan_step",
        "phase_failed",
        "replanning",
        "expert_step",
        "expert_step",
        "expert_step",
        "expert_result",
        "review_result",
        "plan_step",
        "phase_completed",
        "collaboration_notice",
        "team_synthesis",
        "team_dissolved",
    ]
    (formed,) = of_type(frames, "team_formed")
    assert (formed["team_id"], formed["lead_expert"], formed["plan_phases"]) == (str(TEAM), "Ana", [])
    assert [one["name"] for one in formed["experts"]] == ["Ana", "Bo", "Cy"]
    (plan,) = of_type(frames, "plan_update")
    assert plan["plan_phases"][1] == {
        "id": "p2",
        "name": "Write",
        "task": "Write.",
        "owner": "cy",
        "owner_name": "Cy",
        "depends_on": ["p1"],
        "status": "pending",
    }
    steps = [(one["phase_id"], one["status"]) for one in of_type(frames, "plan_step")]
    assert steps == [("p1", "running"), ("p2", "running"), ("p2", "failed"), ("p1", "completed")]
    (contract,) = of_type(frames, "collaboration_contract_defined")
    assert (contract["provider_name"], contract["consumer_name"], contract["deliverable"]) == (
        "Bo",
        "Cy",
        "a list",
    )
    assert of_type(frames, "replanning") == [{"phase_id": "p2", "action": "retry", "reason": "Too slow."}]
    (review,) = of_type(frames, "review_result")
    assert (review["reviewer_name"], review["accepted"], review["comment"]) == ("Ana", True, "Good.")
    (notice,) = of_type(frames, "collaboration_notice")
    assert (notice["to_names"], notice["content"]) == (["Cy"], "Bo has delivered.")
    assert of_type(frames, "risk_flagged") == [{"risk": "Little time", "severity": "high", "phase_id": ""}]
    assert of_type(frames, "team_synthesis") == [{"content": "There are two boats."}]
    assert of_type(frames, "team_dissolved") == [{"team_id": str(TEAM), "reason": "done"}]
    assert all(frame["task_id"] == str(TEAM) for frame in meeting(frames))


@surfaces
def test_what_a_member_does_is_told_with_the_members_name(surface: Surface) -> None:
    frames = surface(told.whole_team(Book()), TEAM)
    thought, called, returned = of_type(frames, "expert_step")
    assert (
        thought.items()
        >= {**FACE_OF_BO, "content": "Hm.\nLet me count.", "step": 1, "kind": "thinking"}.items()
    )
    assert (called["kind"], called["content"]) == ("tool_call", 'calculator({"expression":"1+1"})')
    assert called["data"] == {"call_id": "c1", "name": "calculator", "arguments": {"expression": "1+1"}}
    assert (returned["kind"], returned["content"], returned["step"]) == ("tool_result", "2", 2)
    assert of_type(frames, "expert_result") == [
        {**FACE_OF_BO, "content": "Two boats.", "child": str(RESEARCH)}
    ]


@surfaces
def test_of_the_frames_of_an_event_the_last_has_the_offset_and_offsets_ascend(surface: Surface) -> None:
    frames = surface(told.whole_team(Book()), TEAM)
    steps = [number for number, frame in enumerate(frames) if frame["type"] == "plan_step"]
    assert all("offset" not in frames[number] and "offset" in frames[number + 1] for number in steps)
    offsets = [frame["offset"] for frame in frames if "offset" in frame]
    assert offsets == sorted(set(offsets))


@surfaces
def test_who_comes_back_behind_an_offset_is_told_the_rest_and_nothing_twice(surface: Surface) -> None:
    """Guard: a fold that begins in the middle, and calls members by their ids."""
    for book, task_id in ((told.whole_board(Book()), BOARD), (told.whole_team(Book()), TEAM)):
        whole = surface(book, task_id)
        for place, frame in enumerate(whole):
            if "offset" in frame and place < len(whole) - 1:
                assert surface(book, task_id, after=frame["offset"]) == whole[place + 1 :]


def test_a_child_run_is_no_turn_of_its_own_in_a_session() -> None:
    book = told.team(Book())
    frames = SessionFrames("en", after=0)
    for recorded in book.recorded:
        frames.show(recorded)
    assert frames.running() == [TEAM]
    assert not frames.knows(RESEARCH)


def test_what_a_member_says_when_its_team_has_ended_is_not_told() -> None:
    book = told.team(Book())
    book.add(ev.RunFailed("timeout", "Too slow."), TEAM)
    late = len(book.recorded)
    told.work(book, WRITE, "Done.")
    frames = SessionFrames("en", after=0)
    shown = [frames.show(recorded) for recorded in book.recorded]
    assert shown[late:] == [[]] * (len(shown) - late)


class Live:
    """Both surfaces, told the same."""

    def __init__(self, book: Book, task_id: UUID, *, after: int = 0) -> None:
        self.task_id = task_id
        self.after = after
        self.turn = Turn("en", after=after)
        self.session = SessionFrames("en", after=after)
        for recorded in book.recorded:
            self.add(recorded)

    def add(self, recorded: Any) -> list[Frame]:
        mine = recorded.task_id == self.task_id or self.turn.meeting.concerns(recorded)
        portal = [socket_frame(one, str(self.task_id)) for one in self.turn.show(recorded)] if mine else []
        session = self.session.show(recorded)
        assert meeting(session) == (meeting(portal) if recorded.offset > self.after else [])
        return meeting(session)

    def say(
        self, answer: UUID, of: UUID, text: str, *, reset: bool = False, kind: Any = "text"
    ) -> list[Frame]:
        delta = Delta(answer, of, kind, text, reset)
        portal = [socket_frame(one, str(self.task_id)) for one in self.turn.token(delta, START)]
        session = self.session.token(delta)
        assert [one["data"] for one in portal] == [one["data"] for one in session]
        assert kinds(portal) == kinds(session)
        return session


def test_a_speech_is_told_while_it_is_made_by_who_makes_it() -> None:
    book = told.board(Book())
    book.add(ev.ModelCalled(50, "k", speaker="bo", round=1, purpose="speech"), BOARD)
    live, answer = Live(book, BOARD), outcome_id(BOARD, 50)
    (first,) = live.say(answer, BOARD, "Build ", reset=True)
    (second,) = live.say(answer, BOARD, "one.")
    assert (first["type"], first["task_id"]) == ("expert_speech_chunk", str(BOARD))
    assert first["data"] == {**FACE_OF_BO, "content": "Build ", "round": 1, "reset": True}
    assert (second["data"]["content"], second["data"]["reset"]) == ("one.", False)
    assert "offset" not in first
    assert live.say(answer, BOARD, "Hm.", kind="thinking") == []


@pytest.mark.parametrize("purpose", ["summary", "conclusion", "plan", "review"])
def test_what_is_no_speech_is_not_told_while_it_is_written(purpose: str) -> None:
    book = told.board(Book())
    book.add(ev.ModelCalled(50, "k", aside=True, speaker="ana", purpose=purpose), BOARD)
    assert Live(book, BOARD).say(outcome_id(BOARD, 50), BOARD, "{", kind="thinking") == []


def test_two_who_speak_at_once_are_told_apart() -> None:
    book = told.board(Book())
    book.add(ev.ModelCalled(50, "k", speaker="bo", round=1, purpose="speech"), BOARD)
    book.add(ev.ModelCalled(51, "k", speaker="cy", round=1, purpose="speech"), BOARD)
    live = Live(book, BOARD)
    (cy,) = live.say(outcome_id(BOARD, 51), BOARD, "I", reset=True)
    (bo,) = live.say(outcome_id(BOARD, 50), BOARD, "We", reset=True)
    assert (cy["data"]["expert_name"], bo["data"]["expert_name"]) == ("Cy", "Bo")


def test_a_synthesis_is_told_while_it_is_written() -> None:
    book = told.team(Book())
    book.add(ev.ModelCalled(50, "k", speaker="ana", purpose="synthesis"), TEAM)
    (chunk,) = Live(book, TEAM).say(outcome_id(TEAM, 50), TEAM, "There ", reset=True)
    assert (chunk["type"], chunk["data"]["content"]) == ("team_synthesis_chunk", "There ")


def test_a_members_draft_that_was_thinking_is_taken_back() -> None:
    book = told.team(Book())
    live = Live(book, TEAM)
    live.add(book.add(ev.ModelCalled(1, "k"), RESEARCH))
    (chunk,) = live.say(outcome_id(RESEARCH, 1), RESEARCH, "Let me", reset=True)
    assert (chunk["type"], chunk["task_id"]) == ("expert_result_chunk", str(TEAM))
    assert chunk["data"] == {**FACE_OF_BO, "content": "Let me", "reset": True, "child": str(RESEARCH)}
    answer = ModelAnswer("m", "Let me count.", tool_calls=(ToolCall("c1", "calculator"),))
    reset, thought = live.add(book.add(ev.ModelAnswered(1, "k", answer), RESEARCH))
    assert (reset["type"], thought["type"]) == ("expert_result_chunk_reset", "expert_step")
    assert reset["data"] == {**FACE_OF_BO, "child": str(RESEARCH)}
    assert ("offset" in reset, "offset" in thought) == (False, True)


def test_a_members_text_that_is_followed_by_more_work_is_taken_back() -> None:
    book = told.team(Book())
    live = Live(book, TEAM)
    live.add(book.add(ev.ModelCalled(1, "k"), RESEARCH))
    live.say(outcome_id(RESEARCH, 1), RESEARCH, "First.", reset=True)
    assert live.add(book.add(ev.ModelAnswered(1, "k", ModelAnswer("m", "First.")), RESEARCH)) == []
    again = live.add(book.add(ev.ModelCalled(2, "k"), RESEARCH))
    assert kinds(again) == ["expert_result_chunk_reset", "expert_step"]
    assert again[1]["data"]["content"] == "First."


@pytest.mark.parametrize("restart", [True, False])
def test_a_members_text_that_is_begun_anew_is_taken_back_once(restart: bool) -> None:
    book = told.team(Book())
    live = Live(book, TEAM)
    live.add(book.add(ev.ModelCalled(1, "k"), RESEARCH))
    live.say(outcome_id(RESEARCH, 1), RESEARCH, "Fir", reset=True)
    frames = live.say(outcome_id(RESEARCH, 1), RESEARCH, "Anew", reset=restart)
    expected = ["expert_result_chunk_reset", "expert_result_chunk"] if restart else ["expert_result_chunk"]
    assert kinds(frames) == expected
    live.add(book.add(ev.ModelAnswered(1, "k", ModelAnswer("m", "Anew")), RESEARCH))
    assert kinds(live.add(book.add(ev.ChildAnswered("Anew"), RESEARCH))) == ["expert_result"]
    assert live.add(book.add(ev.RunCompleted(), RESEARCH)) == []


def test_an_empty_restart_only_takes_back() -> None:
    book = told.team(Book())
    live = Live(book, TEAM)
    live.add(book.add(ev.ModelCalled(1, "k"), RESEARCH))
    live.say(outcome_id(RESEARCH, 1), RESEARCH, "Fir", reset=True)
    assert kinds(live.say(outcome_id(RESEARCH, 1), RESEARCH, "", reset=True)) == ["expert_result_chunk_reset"]


@pytest.mark.parametrize("end", [ev.ModelFailed(1, "k", "timeout", "Slow."), ev.RunCancelled("system")])
def test_a_members_text_without_an_end_is_taken_back(end: ev.Event) -> None:
    book = told.team(Book())
    live = Live(book, TEAM)
    live.add(book.add(ev.ModelCalled(1, "k"), RESEARCH))
    live.say(outcome_id(RESEARCH, 1), RESEARCH, "Fir", reset=True)
    assert kinds(live.add(book.add(end, RESEARCH))) == ["expert_result_chunk_reset"]


def test_who_comes_back_in_the_middle_of_a_members_text_begins_it_anew() -> None:
    """Guard: text of before the reconnect that stays in front of what is told again."""
    book = told.team(Book())
    called = book.add(ev.ModelCalled(1, "k"), RESEARCH)
    back = Live(book, TEAM, after=called.offset)
    frames = back.say(outcome_id(RESEARCH, 1), RESEARCH, "Let me", reset=True)
    assert kinds(frames) == ["expert_result_chunk_reset", "expert_result_chunk"]
    (chunk,) = Live(book, TEAM).say(outcome_id(RESEARCH, 1), RESEARCH, "Let me", reset=True)
    assert chunk["data"]["reset"]


def test_a_question_of_a_member_is_one_to_the_person() -> None:
    book = told.team(Book())
    book.add(ev.HumanAsked("q", 2, "Which?", START, "c"), RESEARCH)
    book.add(ev.ConfirmationRequested("n", 3, "shell", "ls", "why", "d", START), WRITE)
    session = of_session(book, TEAM)
    asked = [frame for frame in session if frame["type"] == "ask_human"]
    assert [(one["question"], one["request_id"], one["expert_name"]) for one in asked] == [
        ("Which?", "q", "Bo")
    ]
    (confirmation,) = of_type(session, "confirmation_request")
    assert (confirmation["command"], confirmation["expert_name"]) == ("ls", "Cy")
    portal = [one["data"] for one in of_portal(book, TEAM) if one["type"] == "step"]
    assert [one["event_type"] for one in portal] == ["turn.ask_human", "turn.confirmation_request"]
    frames = SessionFrames("en", after=len(book.recorded))
    for recorded in book.recorded:
        frames.show(recorded)
    assert [frame["type"] for frame in frames.open_requests()] == ["ask_human", "confirmation_request"]


def test_other_steps_of_a_member_are_told_in_words() -> None:
    book = told.team(Book())
    failed = ev.ModelAttemptFailed(1, "k", 1, "main", "m", "timeout", "Too slow.")
    book.add(failed, RESEARCH)
    for frames in (of_portal(book, TEAM), of_session(book, TEAM)):
        (step,) = of_type(frames, "expert_step")
        assert (step["kind"], step["content"]) == ("model_attempt_failed", "model_attempt_failed: Too slow.")
        assert step["data"]["tier"] == "main"


@pytest.mark.parametrize("heard", [True, False])
def test_a_word_to_a_running_meeting_is_acknowledged_and_is_routed_only_if_it_was_not_heard(
    heard: bool,
) -> None:
    book = told.board(Book())
    book.add(ev.MessageReceived("m2", "Mind the cost."), WORD)
    book.add(told.asked("react", "Mind the cost.", steers=str(BOARD)), WORD)
    book.add(ev.RunMerged(str(BOARD), "m2") if heard else ev.RunClaimed("w", 1), WORD)
    turn = Turn("en", meetings={str(BOARD)})
    portal = [
        socket_frame(one, "t") for each in book.recorded if each.task_id == WORD for one in turn.show(each)
    ]
    session = [frame for frame in of_session(book, WORD) if frame["task_id"] == str(WORD)]
    assert kinds(portal) == ["team_intervention_ack", "result" if heard else "routing"]
    assert kinds(session) == ["team_intervention_ack", "result" if heard else "skill_match"]
    for frames in (portal, session):
        assert frames[0]["data"] == {"content": "Mind the cost.", "message_id": "m1"}
        assert [frame["offset"] for frame in frames] == [book.recorded[-2].offset, book.recorded[-1].offset]


def test_a_word_to_any_other_task_is_routed_as_ever() -> None:
    book = Book()
    book.add(told.asked("react"), task(1))
    book.add(told.asked("react", "more", steers=str(task(1))), WORD)
    assert kinds(of_session(book, WORD)) == ["skill_match", "skill_match"]
    assert kinds(of_portal(book, WORD)) == ["routing"]


def test_a_members_run_that_is_followed_by_itself_is_a_turn_with_its_answer() -> None:
    book = told.team(Book())
    told.work(book, RESEARCH, "Two boats.")
    turn = Turn("en")
    frames = [
        socket_frame(one, str(RESEARCH))
        for recorded in book.recorded
        if recorded.task_id == RESEARCH
        for one in turn.show(recorded)
    ]
    assert kinds(frames) == ["routing", "step", "step", "step", "result"]
    assert frames[-1]["data"]["message"] == "Two boats."
