"""Fixtures of all tests.

`server`: for the session. `dsn`: a fresh, migrated database; `empty_dsn`: an empty one. `log`: open on `dsn`.
`nodes`: two logs for a module's property tests. `make_event`: an event. `show_table`: for the end of the output.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing.util import Finalize

import hypothesis
import pytest

from app.log.log import Log, open_log
from tests.support import events
from tests.support.databases import TestServer, running_server
from tests.support.nodes import Nodes, running_nodes
from tests.support.scratch import keep_in_memory

# Databases and other processes take their time, so a single example has no deadline.
hypothesis.settings.register_profile("minutebook", deadline=None, max_examples=40, print_blob=True)
hypothesis.settings.load_profile("minutebook")


FOLDER_LAST = -1_000
"""Behind the folder that `multiprocessing` removes at -100."""


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    folder = keep_in_memory()
    if folder is not None:
        # When all is over: the fork server (`support/forked.py`) keeps its socket there, and removes it at the exit.
        Finalize(None, shutil.rmtree, (folder,), {"ignore_errors": True}, exitpriority=FOLDER_LAST)


LONGEST = "test_kills.py"
"""It takes minutes, so it begins first: no worker ends with it while the others have nothing left to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name != LONGEST)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestServer]:
    with running_server(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture
def dsn(server: TestServer) -> Iterator[str]:
    """Address of a migrated database of this test's own, as the service's role."""
    with server.database() as address:
        yield address


@pytest.fixture
def empty_dsn(server: TestServer) -> Iterator[str]:
    """Address of an empty database."""
    with server.database(template="template0") as address:
        yield address


@pytest.fixture
async def log(dsn: str) -> AsyncIterator[Log]:
    opened = await open_log(dsn, node_id="test")
    yield opened
    await opened.close()


@pytest.fixture(scope="module")
def nodes(server: TestServer) -> Iterator[Nodes]:
    """Two nodes on one database for all examples of a module's property tests."""
    with server.database() as address, running_nodes(address) as running:
        yield running


@pytest.fixture
def make_event() -> events.MakeEvent:
    """`make_event("text")`: a new event whose content does not matter."""
    return events.make_event


@pytest.fixture
def show_table(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """`show_table(text)`: printed when all tests are over, whichever worker ran this one."""
    return lambda table: record_property("table", table)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in (*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")):
        for name, table in report.user_properties:
            if name == "table" and report.when == "call":
                terminalreporter.write_line(f"\n{table}")
