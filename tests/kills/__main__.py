"""`python -m tests.kills --kills 10000`: kills, a table, and exit code 1 where something did not hold."""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.kills.campaign import LANES, kill
from tests.kills.scenarios import SCENARIOS
from tests.support.databases import running_server

FAILURES_SHOWN = 10


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.kills", description="Kill the service and look at the log."
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of everything that is left to chance")
    parser.add_argument("--lanes", type=int, default=LANES, help="services that are killed at the same time")
    parser.add_argument("--mode", help="only the scenarios of this mode, or of this name")
    arguments = parser.parse_args()
    scenarios = [one for one in SCENARIOS if arguments.mode in (None, one.mode, one.name)]
    if not scenarios:
        parser.error(f"there are: {', '.join(one.name for one in SCENARIOS)}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name, running_server(Path(name) / "postgres") as server:
        folder = Path(name) / "kills"
        folder.mkdir()
        killing = kill(
            server,
            folder,
            kills=arguments.kills,
            seed=arguments.seed,
            lanes=arguments.lanes,
            scenarios=scenarios,
            tell=lambda table: print(f"{table}\n", flush=True),
        )
        report = asyncio.run(killing)
    print(f"{report.table()}\n{time.monotonic() - began:.0f} s")
    for failure in report.failures[:FAILURES_SHOWN]:
        print(f"\n{failure}")
    return 1 if report.failures else 0


if __name__ == "__main__":
    sys.exit(main())
