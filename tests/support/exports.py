"""A real `minutebook export` that stands still at a chosen moment; and parts so small that a week fills many.

`python -m tests.support.exports MOMENT N ARGUMENTS…` says "here" at the moment, and goes on when its input ends.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import app.cli
from app.commands import export_tables
from app.transfer import table_parts, table_reading
from projections.runner import ProjectionRunner

ROOT = Path(__file__).parents[2]
SMALL = (
    (table_parts, "PART_ROWS_MAX", 40),
    (table_parts, "GROUP_ROWS_MAX", 7),
    (table_reading, "PAGE_ROWS", 11),
    (table_reading, "ProjectionRunner", partial(ProjectionRunner, page_events=100)),
)
Moment = Literal["folding", "writing", "renaming"]


def make_parts_small(put: Callable[[object, str, object], None]) -> None:
    """`put` is `setattr`, or takes it back at the test's end."""
    for module, name, value in SMALL:
        put(module, name, value)


def files_of(folder: Path) -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in folder.iterdir()}


@contextmanager
def held_export(
    dsn: str, moment: Moment, number: int, *arguments: object
) -> Generator[subprocess.Popen[str]]:
    """It stands still where it has folded a page, has written rows or is to rename a file for the n-th time."""
    program = [sys.executable, "-m", __name__, moment, str(number), "export", *map(str, arguments)]
    with subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": dsn},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n", process.communicate()
        yield process


def _hold_at(moment: Moment, number: int) -> None:
    left = number

    def here() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            print("here", flush=True)
            sys.stdin.read()

    match moment:
        case "folding":
            export_tables._Report.folding = lambda report, found: here()  # type: ignore[method-assign]
        case "writing":
            make_writer = table_parts.part_writer

            def part_writer(*arguments: Any) -> Any:
                writer = make_writer(*arguments)
                write = writer.write
                writer.write = lambda rows: (write(rows), here())  # type: ignore[method-assign]
                return writer

            table_parts.part_writer = part_writer
        case "renaming":
            replace = Path.replace
            Path.replace = lambda path, target: (here(), replace(path, target))[1]  # type: ignore[method-assign]


if __name__ == "__main__":
    moment, number, *rest = sys.argv[1:]
    _hold_at(moment, int(number))  # type: ignore[arg-type]
    make_parts_small(setattr)
    sys.argv[1:] = rest
    app.cli.main()
