"""Settings that name what is not there: at the start and in `minutebook doctor`."""

from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
from structlog.testing import capture_logs

from app.commands.doctor import configured, print_findings
from app.composition.agents import notices_of, roster_of
from app.composition.tools import open_tools, tool_names
from app.settings import Settings, load
from app.tools.toolbox import ToolBox

PHASES = (
    '[{"name": "look", "tools": ["serch", "shell", "mcp__files__read", "mcp__gone__read"]}, '
    '{"name": "do", "tools": ["calculator"]}, {"name": "end"}]'
)
SERVERS = '[{"name": "files", "command": "none-such"}]'
SAID = (
    "default_board names 'stratgist', but there is no such expert (did you mean 'strategist'?)",
    "default_team names 'zzz', but there is no such expert",
    "phases: 'look' names the tool 'serch', but there is no such tool (did you mean 'search'?)",
    "phases: 'look' names the tool 'shell', which is not enabled in this deployment",
    "phases: 'look' names the tool 'mcp__gone__read', but there is no such tool",
)


@pytest.fixture
def wrong() -> Settings:
    return load(
        {
            "MINUTEBOOK_DEFAULT_BOARD": '["moderator", "stratgist"]',
            "MINUTEBOOK_DEFAULT_TEAM": '["zzz"]',
            "MINUTEBOOK_PHASES": PHASES,
            "MINUTEBOOK_MCP_SERVERS": SERVERS,
        }
    )


@pytest.mark.parametrize("changes", [{}, {"shell": True, "fetch": False}])
async def test_the_tools_are_known_without_opening_anything(tmp_path: Path, changes: dict[str, Any]) -> None:
    class NoUploads:
        async def read(self, *_: object) -> None: ...

    settings = Settings(data_dir=str(tmp_path), **changes)
    async with AsyncExitStack() as stack:
        toolbox = await open_tools(stack, settings, cast(Any, None), cast(Any, NoUploads()))
    assert tool_names(settings) == set(toolbox.names), "app/skills/names.py has to list what is built"


def test_what_settings_name_in_vain_is_told_to_who_asks(
    wrong: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert notices_of(wrong) == SAID
    assert print_findings(configured(notices_of(wrong))), "a warning: the service works without them"
    shown = capsys.readouterr().out
    for sentence in SAID:
        assert f"warning  {sentence}\n" in shown
    assert notices_of(Settings()) == ()
    assert print_findings(configured(()))
    assert "ok " in capsys.readouterr().out


def test_what_settings_name_in_vain_is_a_warning_at_the_start(
    wrong: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.composition.agents.logger", structlog.stdlib.get_logger())
    with capture_logs() as logs:
        roster_of(wrong, ToolBox(()))
    said = [line for line in logs if line["event"] == "setting_names_nothing"]
    assert {line["log_level"] for line in said} == {"warning"}
    found = [line["notice"] for line in said]
    assert set(SAID) <= set(found)
    assert "phases: 'do' names the tool 'calculator', which is not enabled in this deployment" in found
