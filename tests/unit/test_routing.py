"""Routing by section 5 of the wire contract."""

import time

import pytest

from app.agents.routing import (
    MODE_OF,
    MeetingCommand,
    RouteError,
    SkillChoice,
    is_small_talk,
    nearest_first,
    route,
    to_skill,
)

SKILLS = (
    SkillChoice("fact-check", "rewoo"),
    SkillChoice("summarize", "skill_react"),
    SkillChoice("总结", "react"),
)


@pytest.mark.parametrize(
    "message",
    [
        "hi",
        "Hello!",
        "hello there 👋",
        "HEY",
        "Good morning",
        "thanks, bye",
        "Thank you very much!!",
        "what's up?",
        "How are you?",
        "Hi! How are you doing?",
        "who are you",
        "你好",
        "您好！",
        "早上好呀～",
        "你好，请问你能做什么？",
        "谢谢你，再见",
        "在吗？",
        "你是谁？",
        "hi 你好",
        "  hello \n",
    ],
)
def test_greetings_go_to_direct_chat(message: str) -> None:
    found = route(message, agent="assistant")
    assert (found.mode, found.method, found.error) == ("direct_chat", "greeting", None)


@pytest.mark.parametrize(
    "message",
    [
        "hi, can you compute 3*4?",
        "hello, what time is it in Tokyo?",
        "thanks, now do it again",
        "high",
        "hello 3",
        "hello-world.py",
        "你好，帮我算 3*4",
        "早上好，今天天气怎么样",
        "谢谢，再算一次",
        "ok",
        "yes please",
        "好的",
        "go on",
        "?",
        "what's up with the stock market",
        "who are you working for",
        "email me@board now",
        "@boardroom hello",
        "@teams hello",
        "the @skill:x in the middle",
        "hello " * 20,
    ],
)
def test_everything_else_goes_to_react(message: str) -> None:
    found = route(message, agent="helper")
    assert (found.mode, found.method, found.skill, found.message) == ("react", "default", "helper", message)
    assert found.error is None


def called(message: str) -> MeetingCommand:
    found = route(message, agent="assistant", mode="plan_exec")
    assert (found.method, found.confidence, found.error) == ("prefix", 1.0, None)
    assert found.meeting is not None
    assert (found.mode, found.message) == (MODE_OF[found.meeting.word], found.meeting.topic)
    return found.meeting


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ("@board what now", MeetingCommand("board", (), None, "what now")),
        ("@Board: what now", MeetingCommand("board", (), None, "what now")),
        (" @team:ana,bo build it ", MeetingCommand("team", ("ana", "bo"), None, "build it")),
        ("@board:ana rounds=3 hi", MeetingCommand("board", ("ana",), 3, "hi")),
        ("@board rounds=20\n\nline one\nline two", MeetingCommand("board", (), 20, "line one\nline two")),
        (
            "@BOARD：安娜，王五、li rounds＝２ 讨论",
            MeetingCommand("board", ("安娜", "王五", "li"), 2, "讨论"),
        ),
        ("@team:产品经理、工程师 写方案", MeetingCommand("team", ("产品经理", "工程师"), None, "写方案")),
        ("@board:ana, bo\u3000,cy what", MeetingCommand("board", ("ana", "bo"), None, ",cy what")),
        ("@board:ana,\nbig words", MeetingCommand("board", ("ana",), None, "big words")),
        ("@board:,,ana,,, what", MeetingCommand("board", ("ana",), None, "what")),
        ("@board:ana,ANA,ａｎａ what", MeetingCommand("board", ("ａｎａ",), None, "what")),
        ("@board topic rounds=3", MeetingCommand("board", (), None, "topic rounds=3")),
        ("@board rounds = 3 topic", MeetingCommand("board", (), None, "rounds = 3 topic")),
        ("@team hello", MeetingCommand("team", (), None, "hello")),
    ],
)
def test_a_command_that_leads_calls_a_meeting(message: str, command: MeetingCommand) -> None:
    assert called(message) == command


@pytest.mark.parametrize(
    "topic",
    [
        "x rounds=3 @team:engineer delete everything",
        "@board:skeptic rounds=9 x",
        "@skill:terminal rm",
        "x\n@team do it\n@skill:a b",
        "\u200b@team y",
        "@board",
    ],
)
def test_what_imitates_a_command_further_on_is_text_of_the_topic(topic: str) -> None:
    command = called(f"@board:ana rounds=2 {topic}")
    assert command == MeetingCommand("board", ("ana",), 2, topic)


def test_the_message_is_kept_as_command_and_topic_and_stays_the_same_when_it_is_read_again() -> None:
    command = called("@Board:ana，bo rounds=3   why boats ")
    assert command.kept == "@board why boats"
    assert called(command.kept).kept == command.kept
    assert called("@team:ana why").kept == "@team why"


@pytest.mark.parametrize(
    "written", ["0", "100000", "21", "-1", "3.5", "many", "", "9" * 5_000, "²", "3,topic"]
)
def test_rounds_are_a_number_from_1_to_20(written: str) -> None:
    error = route(f"@board:ana rounds={written} topic", agent="a").error
    assert error is not None
    assert (error.key, error.values["word"], error.values["limit"]) == ("meeting_rounds", "board", "20")
    assert error.values["given"] == written[:20]


@pytest.mark.parametrize(
    "message", ["@board", "@team ", "@board:ana,bo", "@board rounds=3", "@board:讨论预算"]
)
def test_a_command_without_a_topic_is_an_error(message: str) -> None:
    error = route(message, agent="a").error
    assert error is not None
    assert error.key == "meeting_no_topic"


def test_at_most_twelve_experts_are_named() -> None:
    names = [f"n{number}" for number in range(200)]
    assert called(f"@board:{','.join(names[:12])} x").names == tuple(names[:12])
    for many in (13, 200):
        error = route(f"@board:{'，'.join(names[:many])} x", agent="a").error
        assert error == RouteError("meeting_too_many", {"word": "board", "count": str(many), "limit": "12"})
    same = route(f"@team:{','.join(['ana'] * 200)} x", agent="a").error
    assert same is not None


def test_a_team_has_no_rounds() -> None:
    error = route("@team rounds=3 build it", agent="a").error
    assert error == RouteError("meeting_without_rounds", {"word": "team"})


@pytest.mark.parametrize("mode", ["plan_exec", "rewoo", "reflexion", "skill_react", "direct_chat"])
def test_the_agents_mode_answers_what_no_other_rule_takes(mode: str) -> None:
    assert route("what now", agent="a", mode=mode).mode == mode
    assert route("hello", agent="a", mode=mode).mode == "direct_chat"
    assert route("@skill:fact-check x", agent="a", mode=mode, skills=SKILLS).mode == "rewoo"


@pytest.mark.parametrize(
    ("message", "name", "mode", "rest"),
    [
        ("@skill:fact-check is it so?\nreally?", "fact-check", "rewoo", "is it so?\nreally?"),
        ("@SKILL: Fact-Check x", "fact-check", "rewoo", "x"),
        (" @skill：ｓｕｍｍａｒｉｚｅ 这段话", "summarize", "skill_react", "这段话"),
        ("@skill:总结 这段话", "总结", "react", "这段话"),
        ("@skill:summarize hello", "summarize", "skill_react", "hello"),
        ("@skill:summarize", "summarize", "skill_react", ""),
        ("@skill:summarize @skill:fact-check x", "summarize", "skill_react", "@skill:fact-check x"),
    ],
)
def test_a_skill_answers_in_its_own_mode(message: str, name: str, mode: str, rest: str) -> None:
    found = route(message, agent="assistant", mode="plan_exec", skills=SKILLS)
    assert (found.skill, found.mode, found.message, found.method) == (name, mode, rest, "prefix")
    assert (found.confidence, found.error) == (1.0, None)


def test_a_skill_that_is_asked_for_by_name_keeps_the_message_as_it_is() -> None:
    found = to_skill("SUMMARIZE", " @board is text ", method="explicit", skills=SKILLS)
    assert (found.skill, found.mode, found.message) == ("summarize", "skill_react", " @board is text ")
    assert (found.method, found.error) == ("explicit", None)


def test_an_unknown_skill_names_the_known_ones_the_nearest_first() -> None:
    found = route("@skill:sumarise x", agent="assistant", skills=SKILLS)
    assert found.error == RouteError("no_skill", {"name": "sumarise", "known": "summarize, fact-check, 总结"})


def test_at_most_twenty_known_skills_are_named() -> None:
    many = [SkillChoice(f"skill-{number:03}", "react") for number in range(100)]
    found = to_skill("skill-077", "x", method="explicit", skills=many[:77])
    assert found.error is not None
    named = found.error.values["known"].split(", ")
    assert len(named) == 20
    assert nearest_first("skill-077", named)[0] == named[0]


@pytest.mark.parametrize(
    ("message", "name", "rest"),
    [
        ("@skill:summary the text\nof it", "summary", "the text\nof it"),
        ("@skill:总结 这段话", "总结", "这段话"),
        ("@SKILL: x y", "x", "y"),
        ("@skill:alone", "alone", ""),
        ("@skill:", "", ""),
    ],
)
def test_an_unknown_skill_is_a_clear_error(message: str, name: str, rest: str) -> None:
    found = route(message, agent="assistant")
    assert (found.method, found.skill, found.message) == ("prefix", name, rest)
    assert found.error == RouteError("no_skill", {"name": name, "known": "-"})


@pytest.mark.parametrize(
    "message", ["hi " * 26, "哈" * 80, "hi" * 40, "~" * 80, "good " * 16, "x" * 1_000_000]
)
def test_deciding_takes_no_time(message: str) -> None:
    began = time.thread_time()
    is_small_talk(message)
    is_small_talk(message[:79] + "x")
    route(f"@board:{message[:20_000]}", agent="a")
    route(f"@board:{message[:20_000].replace(' ', ',')}", agent="a")
    assert time.thread_time() - began < 0.05
