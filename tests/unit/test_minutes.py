"""The minutes of conversations: everything that is on record is in them, with the offset that proves it."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import msgspec
import pytest

from app.core import events as ev
from app.core import minutes as doc
from app.core.envelope import Recorded
from app.core.events import Event, encode, event_type
from app.core.messages import ModelAnswer, Usage
from app.core.minutes_fold import SKIPPED, MinutesFold
from app.core.minutes_markdown import markdown
from app.core.minutes_words import code, inline, quoted, words_of

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMES = UUID("6d696e75-7465-4b6f-8f6b-000000000009")
MODERATOR = ev.ExpertCard("mo", "Mo", "M", "#111111", "Chairs.", is_moderator=True)
ANA = ev.ExpertCard("ana", "Ana", "A", "#222222", "Counts.")
BO = ev.ExpertCard("bo", "Bo", "B", "#333333", "Doubts.")


class Story:
    """A conversation's events, one after another; `add` gives the offset."""

    def __init__(self) -> None:
        self.events: list[Recorded] = []

    def add(self, payload: Event, task: str | None = None, actor: str = "user:alice") -> int:
        offset = len(self.events) + 1
        recorded = Recorded(
            "conversation/alice/c",
            offset,
            offset,
            0,
            uuid5(NAMES, str(offset)),
            event_type(payload),
            encode(payload),
            1,
            actor,
            uuid5(NAMES, task) if task is not None else None,
            None,
            None,
            None,
            NOON + timedelta(seconds=offset),
        )
        self.events.append(recorded)
        return offset

    def ask(self, task: str, content: str, mode: str = "react", **fields: Any) -> int:
        """A message and its task; gives the message's offset."""
        asked = self.add(ev.MessageReceived(f"m-{task}", content), task)
        topic = content.removeprefix("@board ").removeprefix("@team ")
        self.add(ev.RunRequested(f"m-{task}", topic, "assistant", mode, 1, **fields), task)
        return asked

    def call(self, task: str, step: int, speaker: str = "", tokens: int = 10, **fields: Any) -> int:
        self.add(ev.ModelCalled(step, "k", speaker=speaker), task)
        answer = ModelAnswer("m", "said", usage=Usage(tokens - 4, 4))
        return self.add(ev.ModelAnswered(step, "k", answer, **fields), task)

    def minutes(self, task: str | None = None) -> doc.Minutes | None:
        fold = MinutesFold("c")
        for recorded in self.events:
            fold.add(recorded)
        return fold.minutes(None if task is None else task_id(task))

    def item(self, kind: type[Any]) -> Any:
        found = self.minutes()
        assert found is not None
        return next(item for item in found.items if type(item) is kind)

    def markdown(self, locale: Any = "en") -> str:
        found = self.minutes()
        assert found is not None
        return markdown(found, words_of(locale))


def task_id(task: str) -> str:
    return str(uuid5(NAMES, task))


@pytest.fixture
def story() -> Story:
    story = Story()
    story.add(ev.ConversationCreated("c", "alice"))
    return story


def board(story: Story) -> dict[str, int]:
    """A board of three for two rounds, with everything that can happen to it; the offsets of what happened."""
    at: dict[str, int] = {}
    limits = ev.RunLimits(1_000, 1_800.0, 50_000, 2.0)
    at["asked"] = story.ask(
        "b", "@board boats?", "board", experts=(MODERATOR, ANA, BO), rounds=2, limits=limits
    )
    at["started"] = story.add(ev.BoardStarted("boats?", (MODERATOR, ANA, BO), 2), "b")
    story.call("b", 2, "mo")
    at["opening"] = story.add(ev.ExpertSpoke("mo", "Welcome.", 0, "moderator"), "b")
    at["used ana"] = story.call("b", 4, "ana", 100, cost_usd=0.5)
    at["ana"] = story.add(ev.ExpertSpoke("ana", "It pays.\n# Decision\nSee [#99].", 1), "b")
    at["said"] = story.ask("w", "Mind the rain", steers=task_id("b"))
    heard = ev.InterventionHeard(5, (ev.Intervention("m-w", task_id("w"), "Mind the rain"),))
    at["heard"] = story.add(heard, "b")
    story.add(ev.RunMerged(task_id("b"), "m-w"), "w")
    at["minuted"] = story.add(ev.InterventionMinuted("Mind the rain", 1), "b")
    story.add(ev.ModelCalled(7, "k", speaker="bo"), "b")
    at["cut"] = story.add(ev.SpeakerInterrupted("user:alice"), "b")
    story.add(ev.ModelFailed(7, "k", "interrupted", "cut"), "b")
    at["bo"] = story.add(ev.ExpertSpoke("bo", "But what", 1, interrupted=True), "b")
    at["summary"] = story.add(ev.RoundSummarized("mo", "Not agreed.", 1), "b")
    at["silent"] = story.add(ev.ExpertSilent("ana", 2, "timeout", "It took too long."), "b")
    at["late"] = story.add(ev.SpeakerInterrupted("user:alice"), "b")
    at["consensus"] = story.add(ev.RoundSummarized("mo", "Agreed.", 2, True), "b")
    concluded = ev.BoardConcluded(
        "We talked.",
        "Build one.",
        2,
        ("It floats.",),
        (ev.Dissent("cost", ("Bo",)),),
        (ev.Vote("Ana", "yes", "cheap"),),
        "consensus",
    )
    at["concluded"] = story.add(concluded, "b")
    at["answer"] = story.add(ev.MessageAnswered("a", "# Result"), "b")
    at["ended"] = story.add(ev.RunCompleted(9, duration_ms=12_300), "b")
    return at


def test_the_minutes_of_a_board_hold_everything_with_its_proof(story: Story) -> None:
    at = board(story)
    held = story.item(doc.Board)
    assert (held.question, held.offset, held.by, held.max_rounds) == ("boats?", at["asked"], "user:alice", 2)
    assert [(one.id, one.role, one.offset) for one in held.present] == [
        ("mo", "moderator", at["started"]),
        ("ana", "expert", at["started"]),
        ("bo", "expert", at["started"]),
    ]
    opening, first, second = held.rounds
    assert (opening.number, [one.offset for one in opening.speeches]) == (0, [at["opening"]])
    assert [(one.name, one.offset, one.interrupted) for one in first.speeches] == [
        ("Ana", at["ana"], False),
        ("Bo", at["bo"], True),
    ]
    assert first.speeches[1].interrupted_offset == at["cut"]
    (word,) = first.interventions
    assert (word.content, word.by) == ("Mind the rain", "user:alice")
    assert (word.offset, word.heard_offset, word.minuted_offset) == (at["said"], at["heard"], at["minuted"])
    assert (first.summary.offset, first.summary.consensus) == (at["summary"], False)
    assert (second.summary.offset, second.summary.consensus) == (at["consensus"], True)
    assert [(one.name, one.offset, one.message) for one in second.silences] == [
        ("Ana", at["silent"], "It took too long.")
    ]
    assert held.conclusion.offset == at["concluded"]
    assert held.conclusion.dissent == (ev.Dissent("cost", ("Bo",)),)
    assert held.conclusion.votes == (ev.Vote("Ana", "yes", "cheap"),)
    assert (held.conclusion.stopped_by, held.ended.status, held.ended.offset) == (
        "consensus",
        "completed",
        at["ended"],
    )
    assert [(one.name, one.offset) for one in held.interruptions] == [("Bo", at["cut"]), ("", at["late"])]
    assert held.interventions == [], "each is in its round"


def test_an_intervention_that_was_heard_is_no_turn_of_its_own(story: Story) -> None:
    board(story)
    found = story.minutes()
    assert found is not None
    assert [type(item) for item in found.items] == [doc.Board]
    assert (found.title, found.is_board, found.offset) == ("boats?", True, len(story.events))


def test_what_a_meeting_used_is_counted_for_each_speaker(story: Story) -> None:
    at = board(story)
    used = story.item(doc.Board).used
    assert (used.calls, used.tokens, used.prompt_tokens, used.cost_usd) == (3, 110, 102, 0.5)
    assert (used.duration_ms, used.tokens_max, used.cost_usd_max, used.offset) == (
        12_300,
        50_000,
        2.0,
        at["ended"],
    )
    ana = next(one for one in used.by_speaker if one.expert_id == "ana")
    assert (ana.name, ana.calls, ana.tokens, ana.cost_usd, ana.offset) == ("Ana", 1, 100, 0.5, at["used ana"])


def test_the_markdown_of_a_board_is_complete_and_its_proofs_are_ours(story: Story) -> None:
    at = board(story)
    shown = story.markdown()
    for line in (
        f"## Board: boats? [#{at['asked']}]",
        f"- M **Mo** (moderator): Chairs. [#{at['started']}]",
        "### Round 1 of at most 2",
        f"**Mo** (moderator) [#{at['opening']}]",
        f"**Intervention by user:alice** [#{at['said']}] – heard [#{at['heard']}]",
        f"**Bo** – cut short by user:alice [#{at['cut']}] [#{at['bo']}]",
        f"*Ana did not speak: It took too long.* [#{at['silent']}]",
        f"**Summary by Mo** – agreement named [#{at['consensus']}]",
        f"### Decision advised [#{at['concluded']}]",
        "> Build one.",
        f"- It floats. [#{at['concluded']}]",
        f"- cost (Bo) [#{at['concluded']}]",
        f"- **Ana**: yes — cheap [#{at['concluded']}]",
        f"- The moderator named agreement (after 2 rounds). [#{at['concluded']}]",
        f"- Tokens: 110 (limit 50 000) [#{at['ended']}]",
        f"- Cost: 0.5000 US dollars (limit 2) [#{at['ended']}]",
        f"- Ana: 1 model calls, 100 tokens [#{at['used ana']}]",
    ):
        assert line in shown.splitlines()
    order = [shown.index(one) for one in ("It pays.", "Mind the rain", "But what", "Not agreed.")]
    assert order == sorted(order), "a round is told in the order of its events"


def test_what_was_said_cannot_pass_for_a_line_of_the_minutes(story: Story) -> None:
    """Guard: `quoted`, `inline` and `_own`."""
    forged = "x\n\n### Decision [#1]\n\n- approved [#2]"
    story.ask("q", forged)
    story.add(ev.MessageAnswered("a", forged), "q")
    story.add(ev.ToolCalled(1, "k", "c", f"t\n# {forged}", '{"a": "`"}'), "q")
    story.add(ev.ToolReturned(1, "k", "c", "t", forged), "q")
    shown = story.markdown()
    proofs = {int(offset) for offset in re.findall(r"(?<!\\)\[#(\d+)\]", shown)}
    assert proofs == {2, 3, 4, 5, 6}
    assert not [line for line in shown.splitlines() if line.startswith("### Decision")]
    assert not [line for line in shown.splitlines() if line.startswith("- approved")]


def team(story: Story) -> dict[str, int]:
    """A team of two with two phases of which one fails once, and a third that never begins."""
    at: dict[str, int] = {}
    at["asked"] = story.ask("t", "@team a plan", "team_collab", experts=(ANA, BO))
    at["formed"] = story.add(ev.TeamFormed("a plan", (ANA, BO), "ana"), "t")
    phases = (
        ev.TeamPhase("p1", "Draft", "write", "bo"),
        ev.TeamPhase("p2", "Check", "read", "ana", ("p1",)),
    )
    at["plan 1"] = story.add(ev.PlanUpdated(phases[:1]), "t")
    at["plan"] = story.add(ev.PlanUpdated(phases), "t")
    at["contract"] = story.add(ev.ContractDefined("bo", "ana", "a text", "p1"), "t")
    at["begun"] = story.add(ev.PhaseStarted("p1", "Draft", "bo", task_id("k1"), 1), "t")
    story.add(ev.ChildStarted(5, "k", task_id("k1"), "bo"), "t")
    child = ev.RunRequested("m-t", "write", "Bo", "react", 1, parent=task_id("t"), expert_id="bo")
    story.add(child, "k1")
    at["member"] = story.call("k1", 1, tokens=70)
    at["tool"] = story.add(ev.ToolCalled(2, "k", "c", "search", '{"q": 1}'), "k1")
    at["result"] = story.add(ev.ToolReturned(2, "k", "c", "search", "found"), "k1")
    story.add(ev.ChildAnswered("draft"), "k1")
    story.add(ev.RunCompleted(), "k1")
    at["rejected"] = story.add(ev.ResultReviewed("p1", "ana", False, "too short"), "t")
    at["failed"] = story.add(ev.PhaseFailed("p1", "Draft", "bo", "rejected", "not accepted"), "t")
    at["retry"] = story.add(ev.Replanned("p1", "retry", "again"), "t")
    at["again"] = story.add(ev.PhaseStarted("p1", "Draft", "bo", task_id("k2"), 2), "t")
    at["accepted"] = story.add(ev.ResultReviewed("p1", "ana", True), "t")
    at["done"] = story.add(ev.PhaseCompleted("p1", "Draft", "bo", "a longer text"), "t")
    at["risk"] = story.add(ev.RiskFlagged("rain", "high", "p1"), "t")
    at["notice"] = story.add(ev.NoticeGiven("it is there", ("ana",), "p1"), "t")
    at["said"] = story.ask("w", "Mind the rain", steers=task_id("t"))
    heard = ev.InterventionHeard(9, (ev.Intervention("m-w", task_id("w"), "Mind the rain"),))
    at["heard"] = story.add(heard, "t")
    story.add(ev.RunMerged(task_id("t"), "m-w"), "w")
    at["never"] = story.add(ev.PhaseFailed("p2", "Check", "ana", "dependency", "Draft is missing"), "t")
    at["synthesis"] = story.add(ev.TeamSynthesized("All of it."), "t")
    at["dissolved"] = story.add(ev.TeamDissolved(), "t")
    story.add(ev.MessageAnswered("a", "All of it."), "t")
    at["ended"] = story.add(ev.RunCompleted(duration_ms=10), "t")
    return at


def test_the_minutes_of_a_team_hold_plan_contracts_phases_and_synthesis(story: Story) -> None:
    at = team(story)
    held = story.item(doc.Team)
    assert [(one.name, one.role, one.offset) for one in held.present] == [
        ("Ana", "lead", at["formed"]),
        ("Bo", "member", at["formed"]),
    ]
    assert [plan.offset for plan in held.plans] == [at["plan 1"], at["plan"]]
    assert (held.plans[1].phases[1].owner, held.plans[1].phases[1].depends_on) == ("Ana", ("p1",))
    (contract,) = held.contracts
    assert (contract.provider, contract.consumer, contract.offset) == ("Bo", "Ana", at["contract"])
    draft, check = held.phases
    assert [(one.number, one.outcome, one.offset, one.outcome_offset) for one in draft.attempts] == [
        (1, "failed", at["begun"], at["failed"]),
        (2, "completed", at["again"], at["done"]),
    ]
    assert [(one.accepted, one.offset) for one in draft.reviews] == [
        (False, at["rejected"]),
        (True, at["accepted"]),
    ]
    assert [(one.action, one.offset) for one in draft.remedies] == [("retry", at["retry"])]
    (never,) = check.attempts
    assert (never.offset, never.outcome_offset, never.message) == (None, at["never"], "Draft is missing")
    assert [(one.severity, one.offset) for one in held.risks] == [("high", at["risk"])]
    assert [(one.to, one.offset) for one in held.notices] == [(("Ana",), at["notice"])]
    assert [(one.offset, one.heard_offset) for one in held.interventions] == [(at["said"], at["heard"])]
    assert (held.synthesis.content, held.synthesis.offset) == ("All of it.", at["synthesis"])
    assert held.dissolved.offset == at["dissolved"]


def test_what_a_member_of_a_team_used_and_called_counts_for_the_team(story: Story) -> None:
    at = team(story)
    held = story.item(doc.Team)
    assert (held.used.tokens, held.used.calls, held.used.offset) == (70, 1, at["ended"])
    (member,) = held.used.by_speaker
    assert (member.name, member.tokens, member.offset) == ("Bo", 70, at["member"])
    (use,) = held.tools
    assert (use.by, use.name, use.offset, use.result, use.result_offset) == (
        "Bo",
        "search",
        at["tool"],
        "found",
        at["result"],
    )
    assert held.ended.offset == at["ended"], "the end of a member is not the end of the team"


def test_the_markdown_of_a_team_is_complete(story: Story) -> None:
    at = team(story)
    lines = story.markdown().splitlines()
    for line in (
        f"## Team: a plan [#{at['asked']}]",
        f"- p2. **Check**, Ana (after p1): read [#{at['plan']}]",
        f"Earlier plans: 1 [#{at['plan 1']}]",
        f"- p1. Bo delivers to Ana: a text [#{at['contract']}]",
        f"- Attempt 1 by Bo [#{at['begun']}] – failed: not accepted [#{at['failed']}]",
        f"- not accepted by Ana: too short [#{at['rejected']}]",
        f"- tried again: again [#{at['retry']}]",
        f"- Attempt 2 by Bo [#{at['again']}] – completed [#{at['done']}]",
        "  > a longer text",
        f"- p1. rain (high) [#{at['risk']}]",
        f"- p1. it is there (to Ana) [#{at['notice']}]",
        f"- Attempt 1 by Ana – failed: Draft is missing [#{at['never']}]",
        f"### Synthesis [#{at['synthesis']}]",
        f"- The team was dissolved (done). [#{at['dissolved']}]",
        f'- search (Bo) `{{"q": 1}}` [#{at["tool"]}] → found [#{at["result"]}]',
    ):
        assert line in lines


def test_the_minutes_of_one_meeting_are_found_by_its_task_and_by_a_members(story: Story) -> None:
    story.ask("q", "And before?")
    team(story)
    for task in ("t", "k1"):
        found = story.minutes(task)
        assert found is not None
        assert [type(item) for item in found.items] == [doc.Team]
    assert story.minutes("nobody") is None
    assert story.minutes("w") is None, "it was merged"


def test_a_plain_conversation_has_questions_answers_tools_and_confirmations(story: Story) -> None:
    asked = story.ask("q", "What is\n6*7?", skill="maths")
    called = story.add(ev.ToolCalled(1, "k", "c", "calculator", '{"e": "6*7"}'), "q")
    returned = story.add(ev.ToolReturned(1, "k", "c", "calculator", "42"), "q")
    open_call = story.add(ev.ToolCalled(2, "k", "d", "shell", "{}"), "q")
    question = story.add(ev.HumanAsked("r1", 2, "Sure?", NOON), "q")
    replied = story.add(ev.HumanAnswered("r1", "Yes.", "user:bo"), "q")
    story.add(ev.HumanAsked("r2", 2, "Really?", NOON), "q")
    story.add(ev.HumanUnanswered("r2", "deadline"), "q")
    wanted = story.add(ev.ConfirmationRequested("c1", 2, "shell", "rm -rf", "risky", "d", NOON), "q")
    refused = story.add(ev.ConfirmationAnswered("c1", False, "d", "user:alice"), "q")
    story.add(ev.ConfirmationRequested("c2", 2, "shell", "ls", "risky", "d", NOON), "q")
    story.add(ev.ConfirmationExpired("c2", "deadline"), "q")
    answered = story.add(ev.MessageAnswered("a", "42."), "q")
    ended = story.add(ev.RunCompleted(duration_ms=5), "q")

    turn = story.item(doc.Turn)
    assert (turn.question, turn.offset, turn.skill) == ("What is\n6*7?", asked, "maths")
    assert [(one.offset, one.result_offset) for one in turn.tools] == [(called, returned), (open_call, None)]
    assert [(one.outcome, one.answer, one.by) for one in turn.questions] == [
        ("answered", "Yes.", "user:bo"),
        ("unanswered", "", ""),
    ]
    assert [one.outcome for one in turn.confirmations] == ["refused", "expired"]
    assert (turn.answer.content, turn.answer.offset, turn.answer.whole) == ("42.", answered, True)
    lines = story.markdown().splitlines()
    for line in (
        f"## Question: What is 6*7? [#{asked}]",
        f'- calculator `{{"e": "6*7"}}` [#{called}] → 42 [#{returned}]',
        f"- shell `{{}}` [#{open_call}] → no result",
        f"- Sure? [#{question}] – answered by user:bo: Yes. [#{replied}]",
        f"- shell: `rm -rf` [#{wanted}] – refused by user:alice [#{refused}]",
        f"### Answer [#{answered}]",
        f"- 2026-03-01 12:00:{ended:02}: completed [#{ended}]",
    ):
        assert line in lines


@pytest.mark.parametrize(
    ("terminal", "line"),
    [
        (ev.RunFailed("timeout", "It took too long."), "failed: It took too long."),
        (ev.RunCancelled("user:bo", "enough"), "cancelled by user:bo: enough"),
    ],
)
def test_a_task_that_did_not_come_to_its_end_keeps_what_there_was(
    story: Story, terminal: ev.RunFailed | ev.RunCancelled, line: str
) -> None:
    story.ask("b", "@board boats?", "board", experts=(MODERATOR, ANA), rounds=2)
    story.add(ev.BoardStarted("boats?", (MODERATOR, ANA), 2), "b")
    story.add(ev.ExpertSpoke("ana", "It pays.", 1, interrupted=True), "b")
    story.add(ev.MessageInterrupted("a", "half"), "b")
    ended = story.add(terminal, "b")
    held = story.item(doc.Board)
    assert (held.conclusion, held.answer.whole, held.ended.offset) == (None, False, ended)
    assert f"{line} [#{ended}]" in story.markdown()
    assert "**Ana** – not finished" in story.markdown(), "no person has cut it short"


def test_minutes_may_be_asked_for_at_any_time(story: Story) -> None:
    """Also of a meeting that goes on, and of one whose experts are not on record yet."""
    board(story)
    team(story)
    whole = story.events
    for until in range(len(whole) + 1):
        story.events = whole[:until]
        if until == 0:
            assert story.minutes() is None
            continue
        shown = story.markdown()
        proofs = [int(offset) for offset in re.findall(r"(?<!\\)\[#(\d+)\]", shown)]
        assert max(proofs) == until
    story.events = whole[:3]
    assert story.markdown().count("**Ana** (expert)") == 1
    assert "It goes on." in story.markdown()


def test_a_word_that_was_not_heard_is_a_turn_that_waits(story: Story) -> None:
    story.ask("b", "@board boats?", "board", experts=(MODERATOR, ANA))
    story.ask("w", "Mind the rain", steers=task_id("b"))
    found = story.minutes()
    assert found is not None
    assert [type(item) for item in found.items] == [doc.Board, doc.Turn]


def test_a_deletion_forgets_what_was_before_it(story: Story) -> None:
    board(story)
    story.add(ev.ConversationDeleted("c"))
    assert story.minutes() is None
    asked = story.ask("q", "Again")
    found = story.minutes()
    assert found is not None
    assert ([item.offset for item in found.items], found.title) == ([asked], "Again")


def test_imported_messages_stand_as_they_were(story: Story) -> None:
    parts = [{"type": "text", "text": "from before"}, {"type": "image_url", "image_url": {}}, 3]
    for index, message in enumerate(
        [
            {"role": "system", "content": "be kind"},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": None, "tool_calls": []},
            {"role": "assistant", "content": "yes"},
        ]
    ):
        story.add(ev.MessageImported(index, msgspec.Raw(msgspec.json.encode(message))))
    found = story.minutes()
    assert found is not None
    assert [(item.role, item.content) for item in found.items if isinstance(item, doc.Imported)] == [
        ("user", "from before"),
        ("assistant", "yes"),
    ]
    assert found.title == "from before"
    assert story.markdown().count("## Imported messages") == 1


def test_the_minutes_are_written_in_chinese_too(story: Story) -> None:
    board(story)
    team(story)
    shown = story.markdown("zh")
    for part in (
        "# 会议纪要：boats?",
        "## 会议：boats?",
        "第 1 轮（最多 2 轮）",
        "主持人确认已达成共识",
        "## 团队：a plan",
        "负责人",
    ):
        assert part in shown
    own = [line for line in shown.splitlines() if line.startswith("#")]
    assert all(re.search(r"[\u4e00-\u9fff]", line) for line in own if not line.startswith("####"))


def test_json_holds_every_line_with_its_offset_and_can_be_read_back(story: Story) -> None:
    board(story)
    team(story)
    found = story.minutes()
    assert found is not None
    encoded = msgspec.json.encode(found)
    assert msgspec.json.decode(encoded, type=doc.Minutes) == found
    assert [item["kind"] for item in msgspec.json.decode(encoded)["items"]] == ["board", "team"]


def test_a_conversation_without_a_word_has_minutes_all_the_same(story: Story) -> None:
    assert "Nothing has been said yet." in story.markdown()


def test_what_is_skipped_is_a_known_type() -> None:
    assert ev.TYPES.keys() >= SKIPPED


@pytest.mark.parametrize(
    ("said", "shown"), [("a`b", "`` a`b ``"), ("a\nb", "`a b`"), ("``", "``` `` ```"), ("\x1b[2J", "`[2J`")]
)
def test_code_stands_on_one_line_whatever_is_in_it(said: str, shown: str) -> None:
    assert code(said) == shown


def test_quotations_keep_their_lines_and_lose_what_steers_a_terminal() -> None:
    assert list(quoted("a\r\n\r\n# b\x1b[2J [#1]\u2028c")) == ["> a", ">", "> # b [2J \\[#1] c"]
    assert list(quoted("")) == [">"]
    assert inline(" a\n # b [#2] ") == "a # b \\[#2]"


def test_added_messages_and_a_given_title_are_in_the_minutes(story: Story) -> None:
    added = {"role": "user", "content": "as I told your colleague"}
    story.add(ev.MessageAdded("m1", msgspec.Raw(msgspec.json.encode(added))))
    story.add(ev.ConversationTitled("Boats, at last"))
    found = story.minutes()
    assert found is not None
    assert found.title == "Boats, at last"
    assert [item.content for item in found.items if isinstance(item, doc.Imported)] == [added["content"]]
