"""Every benchmark runs and finds a ratio. How fast anything is, is not tested here: that is what the benchmarks say."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.bench.cli import BENCHMARKS
from app.bench.measure import Goal, Row, quantile, row, take_turns
from app.bench.table import BEGIN, END, Machine, Report, write_markdown

QUICK_SECONDS_MAX = 170


@pytest.mark.timeout(QUICK_SECONDS_MAX + 10)
def test_every_benchmark_gives_finite_ratios(tmp_path: Path) -> None:
    result, readme = tmp_path / "result.json", tmp_path / "README.md"
    readme.write_text(f"# Before\n{BEGIN}\nthe last table\n{END}\nafter\n")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "app.cli",
            "bench",
            "--quick",
            "--json",
            str(result),
            "--markdown",
            str(readme),
        ],
        check=True,
        timeout=QUICK_SECONDS_MAX,
        stdout=subprocess.DEVNULL,
    )
    rows = json.loads(result.read_text())["rows"]
    assert {name.split(",")[0].split()[0] for name in (row["name"] for row in rows)} == {
        "acknowledgement",
        "append",
        "replay",
        "fan-out",
        "reconnect",
        "projections",
        "storage",
        "steps",
        "team",
        "sessions",
        "past",
        "metrics",
        "load",
    }
    assert all(math.isfinite(row["ratio"]) and row["ratio"] > 0 for row in rows)
    assert all(row["low"] <= row["ratio"] <= row["high"] for row in rows)
    _assert_that_the_load_lost_nothing(rows)
    text = readme.read_text()
    assert text.startswith(f"# Before\n{BEGIN}\n| benchmark |")
    assert text.endswith(f"{END}\nafter\n")
    assert "the last table" not in text


def _assert_that_the_load_lost_nothing(rows: list[dict[str, Any]]) -> None:
    """That the service passes its load test is no matter of speed."""
    (row,) = (row for row in rows if row["name"].endswith("sockets, every frame once"))
    assert row["met"] is True, row
    figures = row["figures"]
    assert [figures[name] for name in ("lost", "doubled", "out of order", "wrong")] == ["0"] * 4
    assert int(figures["frames"]) > 0 < int(figures["of live text"])
    assert int(figures["sockets dropped and resumed"]) > 0


def test_an_unknown_name_says_which_there_are() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "app.cli", "bench", "nonsense"], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 2
    assert all(name in run.stderr for name in BENCHMARKS)


async def test_sides_take_turns_and_results_keep_their_places() -> None:
    order: list[str] = []

    async def side(name: str) -> str:
        order.append(name)
        return name

    assert await take_turns(2, lambda: side("a"), lambda: side("b")) == [("a", "b"), ("a", "b")]
    assert order == ["a", "b", "b", "a"]


def test_a_row_is_judged_by_its_median_unless_its_goal_is_about_a_figure() -> None:
    assert row("n", "w", [0.5, 0.9, 1.0], goal=Goal("≥", 0.9)).met is True
    assert row("n", "w", [0.5, 0.8, 1.0], goal=Goal("≥", 0.9)).met is False
    assert row("n", "w", [3.0], goal=Goal("<", 150, "ms"), judged=40).met is True


def test_quantiles_are_values_that_occurred() -> None:
    values = [float(number) for number in range(1, 101)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([7.0], 0.99)) == (50, 99, 7)


def test_a_file_with_text_but_no_markers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("text")
    report = Report(Machine(1, "s", "p", "d"), 1, True, 1.0, [Row("n", "w", 1, 1, 1, 1)])
    with pytest.raises(ValueError, match="no markers"):
        write_markdown(path, report)
    assert path.read_text() == "text"


def test_more_sockets_than_their_users_may_have_are_refused() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "app.cli", "bench", "load", "--sockets", "33", "--users", "2"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert "--users 3 or more" in run.stderr
