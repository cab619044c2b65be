"""Lessons through the whole service: an agent file asks for them, and its second task is told of the first."""

from pathlib import Path

from tests.support.databases import TestServer
from tests.support.portal import portal
from tests.support.service import running_service, script

GOAL = "Convert the quarterly report into a table"


async def test_an_agent_file_with_lessons_is_shown_what_was_tried_before(
    server: TestServer, tmp_path: Path
) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "assistant.toml").write_text("lessons = 3\n", encoding="utf-8")
    settings = {"model": script(tmp_path, []), "agents_dir": str(tmp_path / "agents")}
    with server.database() as dsn, running_service(tmp_path, dsn, **settings) as service:
        async with portal(service) as first:
            (*_, result) = await first.turn(GOAL)
            assert result["type"] == "result", result
        async with portal(service) as second:
            frames = await second.turn(f"Please {GOAL.lower()}")
    assert frames[-1]["type"] == "result", frames[-1]
    answer = str(frames[-1])  # the model says what it was shown last
    assert "Past experience, found by the service" in answer
    assert f'Asked: \\"{GOAL}\\"' in answer or f'Asked: "{GOAL}"' in answer
