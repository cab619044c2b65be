"""Each mode with the real local model, over a real socket: an answer, or an honest failure, never an exception."""

from collections.abc import Iterator

import pytest

from app.agents.modes import modes_in_files
from tests.support.chat import chat, opened, told
from tests.support.service import Service, running_service

pytestmark = pytest.mark.timeout(600)
HONEST = {"timeout", "plan_invalid", "budget_exceeded"}
ANSWER_SECONDS = 120


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Runs have 25 s and 4 model calls: a small model in a long mode may use them up, and then has to say so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        folder = tmp_path_factory.mktemp("modes")
        limits = {"run_timeout_seconds": "25", "max_steps": "4", "local_max_tokens": "64"}
        with running_service(folder, model="local", fetch="false", **limits) as running:
            yield running


@pytest.mark.parametrize("mode", modes_in_files())
async def test_the_mode_ends_with_an_answer_or_an_honest_failure(service: Service, mode: str) -> None:
    async with service.client() as client:
        session_id = await opened(client)
    async with chat(service, session_id, frame_seconds=ANSWER_SECONDS) as line:
        frames = await told(line, "What is 6 * 7?", execution_mode=mode)
    end = frames[-1]
    matched = next(frame for frame in frames if frame["type"] == "skill_match")
    assert matched["data"]["mode"] == mode
    if end["type"] == "error":
        assert end["data"]["error_class"] in HONEST, end
        assert len(end["data"]["message"]) <= 200
    else:
        assert end["type"] == "final_answer"
        assert end["content"].strip()
    shown = str(frames)
    assert "Traceback" not in shown
    assert "Error(" not in shown
