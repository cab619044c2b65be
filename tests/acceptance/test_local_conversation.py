"""A conversation with the real local model, over real sockets of the real server, with its embedded Postgres."""

from collections.abc import Iterator

import pytest

from tests.support.portal import Frame, is_token, portal, steps
from tests.support.service import Service, running_service

pytestmark = pytest.mark.timeout(600)
FIRST_ANSWER_SECONDS = 300


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        with running_service(tmp_path_factory.mktemp("local"), model="local") as running:
            yield running


def said(frames: list[Frame], known: str = "") -> str:
    """The answer's text as the tokens give it."""
    for step in steps(frames, "token"):
        data = step["data"]
        known = data["content"] if data["reset"] else known + data["content"]
    return known


async def test_a_tool_is_called_and_the_answer_has_its_result(service: Service) -> None:
    """`routing`, `thinking`, `tool_call`, `tool_result`, tokens, `final_answer`, `result`, in this order."""
    async with portal(service, frame_seconds=FIRST_ANSWER_SECONDS) as line:
        frames = await line.turn("What is 17 * 23?", conversation_id="sum")
    names = [frame["data"]["event_type"] if frame["type"] == "step" else frame["type"] for frame in frames]
    order = ["routing", "turn.thinking", "turn.tool_call", "turn.tool_result", "turn.final_answer", "result"]
    assert [name for name in dict.fromkeys(names) if name in order] == order, names
    (call,) = steps(frames, "tool_call")
    assert call["data"]["name"] == "calculator"
    assert "391" in steps(frames, "tool_result")[0]["data"]["content"]
    assert "391" in frames[-1]["data"]["message"]
    assert frames[-1]["data"]["message"].startswith(said(frames))


async def test_a_client_dropped_in_mid_answer_has_the_same_text_elsewhere(service: Service) -> None:
    async with portal(service, frame_seconds=FIRST_ANSWER_SECONDS) as line:
        await line.send(type="chat", message="Tell me a short story about a fox.", conversation_id="story")
        first = await line.until(is_token)
        first += await line.until(is_token)
        line.connection.transport.abort()
    async with portal(service, frame_seconds=FIRST_ANSWER_SECONDS) as line:
        task_id = next(frame["task_id"] for frame in first if frame["type"] == "routing")
        seen = max(frame.get("offset", 0) for frame in first)
        await line.send(type="resume", task_id=task_id, conversation_id="story", after=seen)
        rest = await line.until(lambda frame: frame["type"] == "result")
    answer = rest[-1]["data"]["message"]
    assert len(answer) > 40
    assert answer.startswith(said(first))
    assert answer.startswith(said(rest))
    offsets = [frame["offset"] for frame in (*first, *rest) if "offset" in frame]
    assert offsets == sorted(set(offsets))
    async with service.client() as client:
        found = (await client.get("/portal/conversations/story")).json()
    assert found["messages"][-1]["content"] == answer
