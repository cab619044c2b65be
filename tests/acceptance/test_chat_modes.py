"""Contract section 5: how messages are routed and every mode answers, over real sockets of the real server."""

from collections.abc import Iterator

import httpx
import pytest

from tests.support.chat import chat, offsets, opened, step_names, tokens, told
from tests.support.databases import TestServer
from tests.support.portal import Frame, portal, steps
from tests.support.service import Service, running_service, script

PLAN = 'Plan: multiply\n#E1 = calculator[{"expression": "6*7"}]'
SUMMARY = "They wished each other a good evening."
RULES: list[dict[str, object]] = [
    {"when": {"system_contains": "You keep the minutes"}, "answer": {"text": SUMMARY}},
    {
        "when": {"last_user_contains": "Write nothing but the plan"},
        "answer": {"text": PLAN},
    },
    {"when": {"last_user_contains": "What was found out"}, "answer": {"text": "By evidence: 42."}},
    {
        "when": {"last_user_contains": "Check of your answer"},
        "answer": {"text": "VERDICT: REVISE\nIt is too short."},
    },
    {"when": {"last_user_contains": "earlier attempts"}, "answer": {"text": "A longer try."}},
    {
        "when": {"last_user_contains": "compute", "step": 0},
        "answer": {"tool_calls": [{"name": "calculator", "arguments": {"expression": "6*7"}}]},
    },
]


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("modes")
    settings = {"model": script(folder, RULES), "max_history": "4"}
    with server.database() as dsn, running_service(folder, dsn, **settings) as running:
        yield running


async def turn(service: Service, client: httpx.AsyncClient, content: str, **more: str) -> list[Frame]:
    """A whole turn of a new session. Whatever the mode, its tokens are its answer and its offsets ascend."""
    async with chat(service, await opened(client)) as line:
        frames = await told(line, content, **more)
    assert frames[-1]["type"] == "final_answer", frames[-1]
    assert tokens(frames) == frames[-1]["content"]
    assert offsets(frames) == sorted(set(offsets(frames)))
    return frames


async def test_small_talk_is_direct_chat(service: Service, client: httpx.AsyncClient) -> None:
    """Method `greeting`: one model call."""
    frames = await turn(service, client, "good evening")
    assert frames[0]["data"].items() >= {"method": "greeting", "mode": "direct_chat"}.items()
    assert step_names(frames) == []


async def test_everything_else_is_react_with_the_default_agent(
    service: Service, client: httpx.AsyncClient
) -> None:
    frames = await turn(service, client, "compute it")
    assert frames[0]["data"].items() >= {"method": "default", "mode": "react"}.items()
    assert step_names(frames) == ["turn.tool_call", "turn.tool_result"]


async def test_a_skill_by_its_prefix(service: Service, client: httpx.AsyncClient) -> None:
    """`@skill:NAME rest`: method `prefix`, the rest is the message, the skill names the mode."""
    frames = await turn(service, client, "@skill:summarize boats float")
    expected = {"method": "prefix", "mode": "skill_react", "skill": "summarize"}
    assert frames[0]["data"].items() >= expected.items()
    assert frames[-1]["content"] == "You said: boats float"
    async with portal(service) as line:
        frames = await line.turn("@skill:summarize boats float")
        assert frames[1].items() >= {"type": "routing", "method": "prefix", "skill": "summarize"}.items()
        assert (await line.turn("@skill:nothing-like-it x"))[-1]["type"] == "error"


async def test_rewoo_plans_and_solves(service: Service, client: httpx.AsyncClient) -> None:
    """The plan is thinking and a step, never a token."""
    frames = await turn(service, client, "six by seven, please", execution_mode="rewoo")
    assert step_names(frames) == ["turn.plan", "turn.tool_call", "turn.tool_result"]
    (plan,) = [frame["data"]["data"] for frame in frames if "turn.plan" in step_names([frame])]
    assert plan["steps"][0]["tool"] == "calculator"
    assert [frame["content"] for frame in frames if frame["type"] == "thinking"] == [PLAN]
    assert frames[-1]["content"] == "By evidence: 42."


async def test_reflexion_criticises_its_attempts(service: Service, client: httpx.AsyncClient) -> None:
    """Attempts that were sent back and their critiques are thinking."""
    frames = await turn(service, client, "write about boats", execution_mode="reflexion")
    critiques = [frame["data"]["data"] for frame in frames if "turn.critique" in step_names([frame])]
    assert [one["attempt"] for one in critiques] == [1, 2, 3]
    assert not critiques[0]["accepted"]
    thoughts = [frame["content"] for frame in frames if frame["type"] == "thinking"]
    assert thoughts[:2] == ["You said: write about boats", "VERDICT: REVISE\nIt is too short."]
    assert "A longer try." in frames[-1]["content"]


async def test_plan_exec_goes_through_its_phases(service: Service, client: httpx.AsyncClient) -> None:
    """Results of phases are thinking; that of the last one is the answer. Over the portal they are steps."""
    frames = await turn(service, client, "boats", execution_mode="plan_exec")
    phases = [frame["data"]["phase"] for frame in frames if frame["type"] == "phase_changed"]
    assert phases == ["explore", "plan", "execute", "verify"]
    assert len([frame for frame in frames if frame["type"] == "thinking"]) == 3
    async with portal(service) as line:
        frames = await line.turn("@skill:research boats")
    assert [step["data"]["phase"] for step in steps(frames, "phase_changed")] == phases


async def test_an_unknown_mode_is_an_error_and_nothing_else(
    service: Service, client: httpx.AsyncClient
) -> None:
    """No mode falls back silently to another."""
    async with chat(service, await opened(client)) as line:
        for mode in ("magic", "operation"):
            (frame,) = await told(line, "boats", execution_mode=mode)
            assert frame["type"] == "error"
            assert mode in frame["data"]["message"]


async def test_a_summary_of_what_was_said_before_is_never_told_as_the_answer(
    service: Service, client: httpx.AsyncClient
) -> None:
    """With at most 4 messages shown to the model, a longer conversation is summed up by the first call of a run."""
    async with chat(service, await opened(client)) as line:
        turns = [await told(line, "good evening") for _ in range(6)]
    summed_up = [frames for frames in turns if "turn.summary" in step_names(frames)]
    assert summed_up
    for frames in turns:
        assert tokens(frames) == frames[-1]["content"] == "You said: good evening"
        assert SUMMARY not in "".join(frame["content"] for frame in frames if frame["type"] == "token")
    assert [frame["content"] for frame in summed_up[0] if frame["type"] == "thinking"] == [SUMMARY]
