"""`minutebook bench`: measures this machine, and prints ratios."""

import asyncio
import inspect
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path

import click
import msgspec
from rich.console import Console

from app.api.sockets import SOCKETS_PER_USER_MAX
from app.bench import (
    append,
    fanout,
    fold,
    load,
    metrics,
    past,
    reconnect,
    replay,
    sessions,
    steps,
    storage,
    team,
)
from app.bench.ground import Ground, open_ground
from app.bench.measure import Row
from app.bench.table import Report, print_table, this_machine, write_markdown
from app.composition.garbage import collect_rarely

ROUNDS = 5
QUICK_ROUNDS = 1
OPEN_FILES = 8_192

Benchmark = Callable[[Ground], Awaitable[list[Row]]]

BENCHMARKS: dict[str, Benchmark] = {
    "append": append.measure,
    "replay": replay.measure,
    "fanout": fanout.measure,
    "reconnect": reconnect.measure,
    "projections": fold.measure,
    "storage": storage.measure,
    "steps": steps.measure,
    "team": team.measure,
    "sessions": sessions.measure,
    "metrics": metrics.measure,
    "past": past.measure,
    "load": load.measure,
}


class _Command(click.Command):
    """Its help lists the benchmarks, each with what its module says of itself."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Benchmarks"):
            formatter.write_dl([(name, _about(measure)) for name, measure in BENCHMARKS.items()])


def _about(benchmark: Benchmark) -> str:
    return (inspect.getdoc(inspect.getmodule(benchmark)) or "").partition("\n")[0]


@click.command(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]…")
@click.option("--rounds", type=click.IntRange(1, 1_000), help=f"Pairs that are measured (default {ROUNDS})")
@click.option("--quick", is_flag=True, help="Tiny sizes, one round: shows that everything runs, not how fast")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the result as JSON"
)
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the table into this file, between its markers <!-- bench:begin --> and <!-- bench:end -->",
)
@click.option(
    "--sockets", type=click.IntRange(1, 5_000), help="Of `load`: sockets (default 1 000), at most 16 a user"
)
@click.option("--users", type=click.IntRange(1, 1_000), help="Of `load`: users (default 200)")
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 1_000),
    help="Of `load`: messages a second of all sockets (default 20)",
)
@click.option("--seconds", type=click.FloatRange(1, 86_400), help="Of `load`: how long (default 120)")
def bench_command(
    names: tuple[str, ...],
    rounds: int | None,
    quick: bool,
    json_file: Path | None,
    markdown_file: Path | None,
    **asked: float | None,
) -> None:
    """Measure, as ratios against baselines of the same run. It takes a few minutes; use an idle machine.

    NAME: one of those below; none means all. Runs on fresh databases of the server that DATABASE_URL names (its role
    has to be allowed to create databases), else on an embedded server.
    """
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        raise click.BadParameter(f"no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}")
    benchmarks = BENCHMARKS | {"load": _load(quick, asked)}
    console = Console()
    _raise_limit_of_open_files()
    status = Console(stderr=True)

    def say(text: str) -> None:
        status.print(f"[dim]{time.strftime('%H:%M:%S')} {text}[/dim]")

    started = time.monotonic()
    with open_ground(rounds or (QUICK_ROUNDS if quick else ROUNDS), quick=quick, say=say) as ground:
        rows, version = _run(_measure(ground, [(name, benchmarks[name]) for name in names or benchmarks]))
    report = Report(this_machine(version), ground.rounds, quick, round(time.monotonic() - started, 1), rows)
    print_table(console, report)
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    if markdown_file is not None:
        try:
            write_markdown(markdown_file, report)
        except ValueError as error:
            raise click.ClickException(str(error)) from None


def _load(quick: bool, asked: dict[str, float | None]) -> Benchmark:
    """The load with what was asked for; the rest is as it stands. Raises `click.BadParameter`."""
    given = {name: value for name, value in asked.items() if value is not None}
    load_of = msgspec.convert(msgspec.structs.asdict(load.QUICK if quick else load.FULL) | given, load.Load)
    if (users_min := -(-load_of.sockets // SOCKETS_PER_USER_MAX)) > load_of.users:
        raise click.BadParameter(
            f"{load_of.sockets} sockets of {load_of.users} users: a user may have {SOCKETS_PER_USER_MAX}, so give "
            f"--users {users_min} or more"
        )
    return lambda ground: load.measure(ground, load_of)


async def _measure(ground: Ground, benchmarks: Sequence[tuple[str, Benchmark]]) -> tuple[list[Row], str]:
    rows: list[Row] = []
    for name, benchmark in benchmarks:
        ground.say(name)
        found = await benchmark(ground)
        for row in found:
            ground.say(f"  {row.name}: {row.ratio:.2f} ({row.low:.2f}–{row.high:.2f})")
        rows += found
    return rows, await ground.server_version()


def _run(main: Coroutine[object, object, tuple[list[Row], str]]) -> tuple[list[Row], str]:
    """On uvloop where there is one, and with the collector as the service has it."""
    collect_rarely()
    if sys.platform == "win32":
        return asyncio.run(main)
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def _raise_limit_of_open_files() -> None:
    """1 000 sockets are 1 000 files, here and in the server, which inherits the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    bench_command()
