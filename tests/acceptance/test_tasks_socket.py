"""Contract section 3: "Any number of sockets may watch one task", over real sockets of two nodes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.chat import ASKING
from tests.support.databases import TestServer
from tests.support.portal import Frame, is_token, portal
from tests.support.service import Service, running_pair, script
from tests.support.talks import RULES_OF_TEAMS
from tests.support.watching import is_end, minuted, names, record, started, watched, watching

WATCHERS = 20
"""On each node."""
ASKING_MEMBER: list[dict[str, object]] = [
    {
        "when": {
            "system_contains": "You are Researcher, a member",
            "messages_contain": "ships that ask",
            "step": 0,
        },
        "answer": {"tool_calls": [{"name": "ask_human", "arguments": {"question": "How many?"}}]},
    }
]
SETTINGS = {"shell": "true", "feed_heartbeat_seconds": "1", "sockets_per_user": "1000"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def two_nodes(
    server: TestServer, tmp_path_factory: pytest.TempPathFactory, rules: list[dict[str, object]]
) -> Iterator[tuple[Service, Service]]:
    folder = tmp_path_factory.mktemp("tasks")
    model = script(folder, [*rules, *ASKING_MEMBER, *RULES_OF_TEAMS, *ASKING])
    with running_pair(server, folder, model=model, **SETTINGS) as pair:
        yield pair


@pytest.fixture
async def client(here: Service) -> AsyncIterator[httpx.AsyncClient]:
    async with here.client() as opened:
        yield opened


@pytest.fixture
async def team(here: Service, client: httpx.AsyncClient) -> str:
    """The id of a team's task that has ended; in it an event shows several pieces."""
    task_id = (await started(client, "@team ships"))["task_id"]
    assert (await watched(here, task_id))[-1]["type"] == "result"
    return task_id


async def test_a_task_is_told_step_by_step_with_its_result(here: Service, client: httpx.AsyncClient) -> None:
    """`connected{task_id}`, `step{data:{event_type, step, data, timestamp}}`, `result{data:{output, total_steps,
    total_tokens}}`; the socket stays open and answers pings."""
    task = await started(client, "please compute it")
    async with watching(here, task["task_id"]) as line:
        frames = await line.until(is_end)
        await line.send(type="ping")
        assert await line.receive() == {"type": "pong"}
    told = names(minuted(frames))
    assert told == ["routing", "thinking", "tool_call", "tool_result", "final_answer", "result"]
    for frame in frames[:-1]:
        assert frame["data"].keys() == {"event_type", "step", "data", "timestamp"}
        assert frame["data"]["timestamp"].endswith("Z")
    result = frames[-1]["data"]
    assert (result["output"], result["total_steps"]) == ("Found: 6*7 = 42.", 3)
    assert result["total_tokens"] > 0
    offsets = [frame["offset"] for frame in frames]
    assert offsets == sorted(offsets)
    of_minutes = [frame["offset"] for frame in minuted(frames)]
    assert len(of_minutes) == len(set(of_minutes))
    shown = await record(client, task["task_id"])
    assert (shown["last_offset"], shown["run"]["usage"]["prompt_tokens"] > 0) == (offsets[-1], True)


async def test_a_failed_task_ends_with_one_sentence(here: Service, client: httpx.AsyncClient) -> None:
    """`error` with the offset of the end."""
    task = await started(client, "break now")
    *_, error = await watched(here, task["task_id"])
    shown = await record(client, task["task_id"])
    assert (error["type"], error["data"]["message"]) == ("error", "The model refused the request.")
    assert (shown["status"], shown["error_message"]) == ("failed", error["data"]["message"])
    assert error["offset"] == shown["last_offset"]


async def test_every_watcher_on_two_nodes_is_told_every_frame_once(
    here: Service, there: Service, client: httpx.AsyncClient, gate: Path
) -> None:
    """Every watcher receives every frame once, including the result; live text from any node; also whoever is dropped
    in the middle and resumes on the other node, and whoever comes late."""
    task_id = (await started(client, "please hold one"))["task_id"]
    async with AsyncExitStack() as stack:
        lines = [
            await stack.enter_async_context(watching(node, task_id))
            for node in (here, there)
            for _ in range(WATCHERS)
        ]
        await asyncio.gather(*(line.until(is_token) for line in lines))
        dropped = [await _dropped(node, task_id) for node in (here, there)]
        (gate / "one").touch()
        await asyncio.gather(*(line.until(is_end) for line in lines))
        told = [line.frames for line in lines]
    for before, node in zip(dropped, (there, here), strict=True):
        told.append([*before, *await watched(node, task_id, before[-1]["offset"])])
    told.append(await watched(there, task_id))
    expected = minuted(told[0])
    assert names(expected) == ["routing", "final_answer", "result"]
    assert all(minuted(frames) == expected for frames in told)
    assert expected[-1]["data"]["output"] == "The beginning, and the end."
    for frames in told[: 2 * WATCHERS]:
        assert _text(frames)
        assert expected[-1]["data"]["output"].startswith(_text(frames))


async def _dropped(node: Service, task_id: str) -> list[Frame]:
    """What a watcher has seen of the running task whose connection breaks."""
    async with watching(node, task_id) as line:
        frames = await line.until(is_token)
        line.connection.transport.abort()
    return frames


def _text(frames: list[Frame]) -> str:
    """What a client shows while it is written; what comes with `reset` replaces it."""
    shown = ""
    for frame in filter(is_token, frames):
        data = frame["data"]["data"]
        shown = data["content"] if data["reset"] else shown + data["content"]
    return shown


async def test_cancel_from_any_watcher_ends_the_task_for_all(
    here: Service, there: Service, client: httpx.AsyncClient
) -> None:
    """After cancel `{status:"cancelled", task_id}`; the partial output is kept; cancelled again, it says so."""
    task_id = (await started(client, "please hold two"))["task_id"]
    async with watching(here, task_id) as first, watching(there, task_id) as second:
        await asyncio.gather(first.until(is_token), second.until(is_token))
        await second.send(type="cancel")
        told = await asyncio.gather(first.until(is_end), second.until(is_end))
        await first.send(type="cancel")
        refused = await first.receive()
    assert minuted(told[0]) == minuted(told[1])
    (_, partial, result) = minuted(first.frames)[:3]
    assert partial["data"]["data"]["kind"] == "interrupted"
    assert result["data"].items() >= {"status": "cancelled", "task_id": task_id}.items()
    assert (refused["type"], "cancelled" in refused["data"]["message"]) == ("error", True)
    shown = await record(client, task_id)
    assert (shown["status"], shown["output_data"]["partial"]) == ("cancelled", True)


async def test_the_frames_of_a_team_are_steps(here: Service, there: Service, team: str) -> None:
    """Section 4's frames with all of their data, those of its members among them; the same on every node."""
    frames = await watched(here, team)
    told = names(frames)
    assert {"team_formed", "plan_update", "plan_step", "phase_started", "expert_result"} <= set(told)
    assert [name for name in told if name != "token"][-4:] == [
        "team_synthesis",
        "team_dissolved",
        "final_answer",
        "result",
    ]
    formed = next(frame for frame in frames if frame["data"].get("event_type") == "turn.team_formed")
    assert formed["data"]["data"]["team_id"] == team
    assert await watched(there, team) == frames


async def test_a_resume_at_any_frame_repeats_nothing_and_misses_nothing(
    here: Service, there: Service, team: str
) -> None:
    """`?after=` the `cursor` of any frame; some of them stand within an event that shows several pieces."""
    frames = await watched(here, team)
    within = [frame for frame in frames if "." in frame["cursor"].rpartition(":")[2]]
    assert within
    assert len({frame["cursor"] for frame in frames}) == len(frames)
    picked = {frame["cursor"] for frame in (*within[:8], *frames[:-1:7])}
    for number, frame in enumerate(frames):
        if frame["cursor"] in picked:
            assert await watched(there, team, frame["cursor"]) == frames[number + 1 :]


async def test_whoever_knows_the_end_is_told_nothing_again(here: Service, client: httpx.AsyncClient) -> None:
    task_id = (await started(client, "hello there, again"))["task_id"]
    *_, result = await watched(here, task_id)
    async with watching(here, task_id, result["offset"]) as line:
        await line.send(type="ping")
        assert await line.receive() == {"type": "pong"}
    assert (line.frames[0]["status"], line.frames[0]["resume"]["answer"]) == ("completed", "nothing_missed")


@pytest.mark.parametrize("after", ["other-epoch:3", "999999"])
async def test_a_cursor_that_cannot_be_resumed_begins_at_the_start(
    here: Service, client: httpx.AsyncClient, after: str
) -> None:
    task_id = (await started(client, "hello there, you"))["task_id"]
    async with watching(here, task_id, after) as line:
        frames = await line.until(is_end)
    assert line.frames[0]["resume"]["answer"] == "cannot"
    assert names(minuted(frames)) == ["routing", "final_answer", "result"]


async def test_a_question_is_answered_by_any_watcher(
    here: Service, there: Service, client: httpx.AsyncClient
) -> None:
    """The record says `waiting` (for a human), and for what; `reply` goes on from the other node."""
    task_id = (await started(client, "ask me"))["task_id"]
    async with watching(here, task_id) as first, watching(there, task_id) as second:
        asked = (await first.until(_is_step("ask_human")))[-1]["data"]["data"]
        shown = await record(client, task_id)
        assert (shown["status"], shown["progress_message"]) == ("waiting", "Which colour?")
        reply = {"type": "reply", "request_id": asked["request_id"], "content": "Red"}
        await second.send(**reply)
        *_, result = await first.until(is_end)
        await second.until(is_end)
        await second.send(**reply)
        assert (await second.receive())["type"] == "error"
    assert result["data"]["output"] == "Noted. The answer: Red"


async def test_what_a_teams_member_asks_is_answered_at_the_teams_task(
    here: Service, client: httpx.AsyncClient
) -> None:
    """On the socket and over REST; the first answer counts."""
    task_id = (await started(client, "@team ships that ask"))["task_id"]
    async with watching(here, task_id) as line:
        asked = (await line.until(_is_step("ask_human")))[-1]["data"]["data"]
        assert not asked["request_id"].startswith(task_id)
        reply = {"request_id": asked["request_id"], "content": "Two"}
        await line.send(type="reply", **reply)
        await line.until(_is_step("human_answered"))
        assert (await client.post(f"/tasks/{task_id}/reply", json=reply)).status_code == 409
        *_, result = await line.until(is_end)
    assert result["data"]["output"] == "There are ships."


async def test_a_call_is_agreed_to_by_a_watcher(here: Service, client: httpx.AsyncClient) -> None:
    """`confirmation_reply`; a request of another task of the conversation is not one of this one."""
    task = await started(client, "run it")
    waiting = await started(client, "hello there, you", conversation_id=task["conversation_id"])
    async with watching(here, task["task_id"]) as line, watching(here, waiting["task_id"]) as beside:
        request = (await line.until(_is_step("confirmation_request")))[-1]["data"]["data"]
        agreed = {"confirmation_id": request["confirmation_id"], "approved": True}
        await beside.send(type="confirmation_reply", **agreed)
        refused = (await beside.until(lambda frame: frame["type"] == "error"))[-1]
        assert "no open question" in refused["data"]["message"]
        await line.send(type="confirmation_reply", **agreed)
        *_, result = await line.until(is_end)
        await beside.until(is_end)
    assert "done 42" in result["data"]["output"]


@pytest.mark.parametrize(
    ("sent", "part"),
    [
        ("not json", "not valid JSON"),
        ("[1]", "has to be a JSON object with a type"),
        ('{"type":"chat","message":"hi"}', "cancel, reply, confirmation_reply, ping"),
        ('{"type":"reply"}', "request_id"),
        ('{"type":"reply","request_id":"x","content":"y"}', "no open question"),
        ('{"type":"cancel"}', "has ended already: completed"),
        ("[" * 5_000, "nested too deeply"),
    ],
)
async def test_bad_frames_are_answered_and_do_no_harm(
    here: Service, client: httpx.AsyncClient, sent: str, part: str
) -> None:
    task_id = (await started(client, "hello there", client_message_id="one for all"))["task_id"]
    async with watching(here, task_id) as line:
        await line.until(is_end)
        await line.connection.send(sent)
        frame = await line.receive()
        assert (frame["type"], part in frame["data"]["message"]) == ("error", True), frame
        await line.send(type="ping")
        assert await line.receive() == {"type": "pong"}


@pytest.mark.parametrize(
    ("path", "part"),
    [
        (UNKNOWN, "no task"),
        ("nonsense", "no task"),
        ("%00", "no task"),
        ("KNOWN?after=x", "not a cursor"),
        ("KNOWN?after=-1", "not a cursor"),
        ("KNOWN?after=1.2.3", "not a cursor"),
    ],
)
async def test_what_is_no_task_or_cursor_gets_one_sentence_and_4004(
    here: Service, client: httpx.AsyncClient, path: str, part: str
) -> None:
    task_id = (await started(client, "hello there", client_message_id="one for all"))["task_id"]
    path = f"/api/v1/ws/tasks/{path}".replace("KNOWN", task_id)
    async with portal(here, path) as line:
        frame = await line.receive()
        assert (frame["type"], part in frame["data"]["message"]) == ("error", True), frame
        with pytest.raises(ConnectionClosed):
            await line.connection.recv()
        assert line.connection.close_code == 4004


def _is_step(name: str) -> Callable[[Frame], bool]:
    return lambda frame: frame["type"] == "step" and frame["data"]["event_type"] == f"turn.{name}"
