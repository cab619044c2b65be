"""Contract section 2: "text tokens that turn out to precede a tool call are thinking", "the rest as `token`": while it
is written wherever it is certain that a call can only be the answer. Over real sockets of the real server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.chat import chat, of_type, opened, step_names, tokens
from tests.support.databases import TestServer
from tests.support.service import Service, running_service, script

MODES = ("react", "rewoo", "plan_exec")
ANSWER = "In the end it is forty-two."
LAST = {"react": "used all your steps", "plan_exec": "used all your steps", "rewoo": "What was found out"}


def rules_of(gate: Path, mode: str) -> list[dict[str, Any]]:
    """The mode works with tools up to its last call, whose answer stops in the middle until the file is there."""
    held = {"chunk_chars": 6, "hold_after_chunks": 2, "wait_for_file": str(gate / mode)}
    calls = [{"name": "calculator", "arguments": {"expression": "6*7"}}]
    asked = f"work in {mode}"
    plan = 'Plan: multiply\n#E1 = calculator[{"expression": "6*7"}]'
    return [
        {"when": {"last_user_contains": LAST[mode], "messages_contain": asked}, "answer": {"text": ANSWER, **held}},
        {"when": {"last_user_contains": "nothing but the plan", "messages_contain": asked}, "answer": {"text": plan}},
        {"when": {"messages_contain": asked}, "answer": {"text": "I look.", "tool_calls": calls}},
    ]  # fmt: skip


@pytest.fixture(scope="module")
def service(server: TestServer, tmp_path_factory: pytest.TempPathFactory, gate: Path) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("final")
    rules = [rule for mode in MODES for rule in rules_of(gate, mode)]
    settings = {"model": script(folder, rules), "max_steps": "3", "feed_heartbeat_seconds": "1"}
    with server.database() as dsn, running_service(folder, dsn, **settings) as running:
        yield running


@pytest.mark.parametrize("mode", MODES)
async def test_the_last_call_of_a_mode_is_told_while_it_comes_and_earlier_ones_are_not(
    service: Service, client: httpx.AsyncClient, gate: Path, mode: str
) -> None:
    """Guard: the answer is held back in its middle, so a `token` before the file is there came while it was written;
    and whatever came before was thinking."""
    async with chat(service, await opened(client)) as line:
        await line.send(type="message", content=f"work in {mode}", execution_mode=mode)
        first = await line.until(of_type("token"))
        assert ANSWER.startswith(tokens(first))
        assert "turn.tool_result" in step_names(first)
        (gate / mode).touch()
        frames = first + await line.until(of_type("final_answer"))
    assert len([frame for frame in frames if frame["type"] == "token"]) > 1
    assert tokens(frames) == frames[-1]["content"] == ANSWER
    assert all("I look." not in frame["content"] for frame in frames if frame["type"] == "token")
    if mode != "rewoo":
        assert "I look." in [frame["content"] for frame in frames if frame["type"] == "thinking"]
