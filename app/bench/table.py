"""The result as a table for people, as Markdown for the README, and as JSON for machines."""

import os
import platform
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from app.bench.measure import Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_COLUMNS = ("benchmark", "ratio", "min–max", "goal", "", "for orientation")


class Machine(msgspec.Struct, frozen=True):
    """What it was measured on."""

    cpus: int
    system: str
    python: str
    postgres: str


class Report(msgspec.Struct, frozen=True):
    """Everything of one run. `seconds` is how long it took."""

    machine: Machine
    rounds: int
    quick: bool
    seconds: float
    rows: list[Row]

    @property
    def caption(self) -> str:
        machine = self.machine
        return (
            f"Median of {self.rounds} rounds; {machine.cpus} CPUs, {machine.system}, Python {machine.python}, "
            f"Postgres {machine.postgres}{'; tiny sizes, so not to be judged' if self.quick else ''}."
        )


def this_machine(postgres: str) -> Machine:
    system = f"{platform.system()} {platform.machine()}"
    return Machine(os.cpu_count() or 1, system, platform.python_version(), postgres)


def print_table(console: Console, report: Report) -> None:
    table = Table(caption=report.caption, show_lines=True)
    for column in _COLUMNS:
        table.add_column(column, justify="right" if column in ("ratio", "min–max") else "left")
    for row in report.rows:
        name, *cells = _cells(row)
        color = {True: "[green]", False: "[red]", None: ""}[row.met]
        cells[3] = f"{color}{cells[3]}"
        table.add_row(f"[bold]{name}[/bold]\n{row.what}", *cells)
    console.print(table)


def markdown(report: Report) -> str:
    """The table between its markers."""
    lines = [
        BEGIN,
        f"| {' | '.join(_COLUMNS)} |",
        "|---|---:|---:|---|---|---|",
    ]
    for row in report.rows:
        name, *cells = _cells(row)
        lines.append(f"| **{name}**: {row.what} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", report.caption, END, ""])


def write_markdown(path: Path, report: Report) -> None:
    """Into the file, in place of what stands between the markers; a file without them becomes this table."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if text.strip() and not (begin and end):
        raise ValueError(f"{path} has no markers {BEGIN} and {END}; put them where the table belongs")
    path.write_text(head + markdown(report).rstrip("\n") + (tail or "\n"), encoding="utf-8")


def _cells(row: Row) -> list[str]:
    met = {True: "met", False: "not met", None: ""}[row.met]
    figures = "; ".join(f"{name} {figure}" for name, figure in row.figures.items())
    spread = f"{_short(row.low)}–{_short(row.high)}" if row.rounds > 1 else ""
    return [row.name, _short(row.ratio), spread, row.goal, met, figures]


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 100 else f"{ratio:.0f}"
