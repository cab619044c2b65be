"""docs/analytics.md: its commands and its code, run from the first to the last, print what stands there."""

import re
import shlex
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from app.commands.transfer import export_command
from tests.support.commands import invoke
from tests.support.projected import write
from tests.support.working_week import working_week

DOCUMENT = Path(__file__).parents[2] / "docs/analytics.md"
BLOCK = re.compile(r"```(sh|python|text)\n(.*?)```", re.DOTALL)


def test_the_three_questions_are_answered_from_the_files_as_the_page_says(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(dsn, working_week())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    printed, answers = "", 0
    for kind, text in BLOCK.findall(DOCUMENT.read_text(encoding="utf-8")):
        match kind:
            case "sh":
                for line in text.splitlines():
                    program, command, *arguments = shlex.split(line)
                    assert (program, command) == ("minutebook", "export")
                    result = invoke(export_command, dsn, *arguments)
                    assert result.exit_code == 0, result.output
            case "python":
                with redirect_stdout(StringIO()) as out:
                    exec(compile(text, "docs/analytics.md", "exec"), names)
                printed = out.getvalue()
            case _:
                assert printed == text
                answers += 1
    assert answers == 3
