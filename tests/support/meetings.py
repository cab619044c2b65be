"""Boards and teams written by hand, as the modes put them on record."""

from uuid import UUID

from app.core import events as ev
from app.core.messages import ModelAnswer, ToolCall
from tests.support.projected import Book, task

BOARD, TEAM, RESEARCH, WRITE = task(101), task(102), task(103), task(104)
ANA = ev.ExpertCard(
    "ana", "Ana", "🦉", "#112233", "Asks.", is_moderator=True, rules="Be brief.", skill_prompt="x"
)
BO = ev.ExpertCard("bo", "Bo", "🐻", "#445566", "Builds.")
CY = ev.ExpertCard("cy", "Cy", "🐱", "#778899", "Checks.")
FACE_OF_BO = {
    "expert_id": "bo",
    "expert_name": "Bo",
    "expert_avatar": "🐻",
    "expert_color": "#445566",
}


def asked(mode: str, message: str = "boats", **fields: object) -> ev.RunRequested:
    return ev.RunRequested("m1", message, "assistant", mode, 1, **fields)  # type: ignore[arg-type]


def board(book: Book, *, rounds: int = 1) -> Book:
    """A board of three up to before its conclusion: somebody interrupts, somebody is away, somebody speaks up."""
    book.add(ev.MessageReceived("m1", "@board boats"), BOARD)
    book.add(asked("board", experts=(ANA, BO, CY), rounds=rounds), BOARD)
    book.add(ev.RunClaimed("w", 1), BOARD)
    book.add(ev.BoardStarted("boats", (ANA, BO, CY), rounds, 1, "k"), BOARD)
    book.add(ev.ModelCalled(2, "k", speaker="ana", purpose="speech"), BOARD)
    book.add(ev.ModelAnswered(2, "k", ModelAnswer("m", "Welcome.", "Hm.")), BOARD)
    book.add(ev.ExpertSpoke("ana", "Welcome.", 0, "moderator", step=3), BOARD)
    for number in range(1, rounds + 1):
        step = number * 10
        book.add(ev.InterventionMinuted("Mind the cost.", number, step), BOARD)
        book.add(ev.SpeakerInterrupted("user:alice"), BOARD)
        book.add(ev.ExpertSpoke("bo", "Build one.", number, interrupted=True, step=step + 1), BOARD)
        book.add(ev.ExpertSilent("cy", number, "timeout", "Too slow.", step + 2), BOARD)
        book.add(ev.RoundSummarized("ana", "One wants boats.", number, True, step + 3), BOARD)
    return book


def concluded() -> ev.BoardConcluded:
    return ev.BoardConcluded(
        "Boats are wanted.",
        "Build one.",
        1,
        ("Boats float.",),
        (ev.Dissent("Too dear", ("Ana", "Bo")), ev.Dissent("Too slow")),
        (ev.Vote("Bo", "yes", "fast"),),
        "consensus",
        90,
    )


def whole_board(book: Book) -> Book:
    board(book)
    book.add(concluded(), BOARD)
    book.add(ev.MessageAnswered("a1", "# Boats are wanted."), BOARD)
    book.add(ev.RunCompleted(9), BOARD)
    return book


def team(book: Book) -> Book:
    """A team up to where both of its members have been set to work."""
    book.add(ev.MessageReceived("m1", "@team a paper on boats"), TEAM)
    book.add(asked("team_collab", "a paper on boats", experts=(ANA, BO, CY)), TEAM)
    book.add(ev.RunClaimed("w", 1), TEAM)
    book.add(ev.TeamFormed("a paper on boats", (ANA, BO, CY), "ana", 1, "k"), TEAM)
    book.add(ev.ModelCalled(2, "k", aside=True, speaker="ana", purpose="plan"), TEAM)
    book.add(ev.ModelAnswered(2, "k", ModelAnswer("m", '{"phases":[]}'), aside=True), TEAM)
    phases = (
        ev.TeamPhase("p1", "Research", "Read.", "bo"),
        ev.TeamPhase("p2", "Write", "Write.", "cy", ("p1",)),
    )
    book.add(ev.PlanUpdated(phases, 3), TEAM)
    book.add(ev.ContractDefined("bo", "cy", "a list", "p1", 4), TEAM)
    book.add(ev.RiskFlagged("Little time", "high", step=5), TEAM)
    for step, phase, card, child in ((6, phases[0], BO, RESEARCH), (8, phases[1], CY, WRITE)):
        begin(book, child, card, step)
        book.add(ev.PhaseStarted(phase.id, phase.name, card.id, str(child), step=step + 1), TEAM)
        book.add(ev.RunClaimed("w", 1), child)
    return book


def begin(book: Book, child: UUID, card: ev.ExpertCard, step: int) -> None:
    """As the runner does it: the event that says so, then the child's request."""
    book.add(ev.ChildStarted(step, "k", str(child), card.id), TEAM)
    requested = ev.RunRequested(
        "m1", "Your part.", card.name, "react", 1, method="child", parent=str(TEAM), expert_id=card.id
    )
    book.add(requested, child)


def work(book: Book, child: UUID, answer: str) -> None:
    """A member's run from its first model call to its end: a tool call, then the answer."""
    call = ToolCall("c1", "calculator", '{"expression":"1+1"}')
    book.add(ev.ModelCalled(1, "k"), child)
    book.add(ev.ModelAnswered(1, "k", ModelAnswer("m", "Let me count.", "Hm.", (call,))), child)
    book.add(ev.ToolCalled(2, "k", "c1", "calculator", call.arguments), child)
    book.add(ev.ToolReturned(2, "k", "c1", "calculator", "2"), child)
    book.add(ev.ModelCalled(3, "k"), child)
    book.add(ev.ModelAnswered(3, "k", ModelAnswer("m", answer)), child)
    book.add(ev.ChildAnswered(answer), child)
    book.add(ev.RunCompleted(2, 1), child)


def whole_team(book: Book) -> Book:
    """Two members, of whom the second one fails first; the lead reviews, and brings it together."""
    team(book)
    book.add(ev.PhaseFailed("p2", "Write", "cy", "timeout", "Too slow.", 10), TEAM)
    book.add(ev.Replanned("p2", "retry", "Too slow.", 11), TEAM)
    work(book, RESEARCH, "Two boats.")
    book.add(ev.ChildEnded(12, "k", str(RESEARCH), "Two boats."), TEAM)
    book.add(ev.ResultReviewed("p1", "ana", True, "Good.", 13), TEAM)
    book.add(ev.PhaseCompleted("p1", "Research", "bo", "Two boats.", 14), TEAM)
    book.add(ev.NoticeGiven("Bo has delivered.", ("cy",), "p1", 15), TEAM)
    book.add(ev.ModelCalled(16, "k", speaker="ana", purpose="synthesis"), TEAM)
    book.add(ev.ModelAnswered(16, "k", ModelAnswer("m", "There are two boats.")), TEAM)
    book.add(ev.TeamSynthesized("There are two boats.", 17), TEAM)
    book.add(ev.TeamDissolved(step=18), TEAM)
    book.add(ev.MessageAnswered("a2", "There are two boats."), TEAM)
    book.add(ev.RunCompleted(9), TEAM)
    return book
