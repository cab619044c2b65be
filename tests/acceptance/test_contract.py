"""The table of the wire contract is complete, and true as far as a program can see: docs/contract.md is made of it.

Every test that it names is there; every call of the application's routes and every frame that the sockets' code can
send or take is in it.
"""

import ast
import os
from functools import cache
from pathlib import Path

import pytest

from app.api import chat_socket, evolution_socket, feed_socket, portal_socket, task_socket
from app.api.chat_wire import AS_FRAMES
from app.api.meeting_wire import FRAMES
from app.core.steps import NAMES
from tests.acceptance.contract import calls, frames
from tests.acceptance.contract.code import routes, sent_by, steps_of_turns
from tests.acceptance.contract.document import KNOWN, QUOTED, Rows, named_by, rendered

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "contract.md"


@cache
def functions_of(module: str) -> frozenset[str]:
    """`test_x`, or `folder/test_x` for one that is not an acceptance test."""
    folder, _, name = module.rpartition("/")
    file = (HERE.parent / folder if folder else HERE) / f"{name}.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


@pytest.mark.parametrize("section", [*QUOTED, *KNOWN])
def test_every_row_names_tests_that_are_there(section: str) -> None:
    rows = QUOTED.get(section) or KNOWN[section]
    for row, tests in rows.items():
        assert named_by(tests), row
        for test in named_by(tests):
            module, _, name = test.partition("::")
            assert name in functions_of(module), f"{section}, {row}: {test}"


@pytest.mark.parametrize("section", [*QUOTED, *KNOWN])
def test_every_call_and_frame_has_a_test_over_the_real_server(section: str) -> None:
    """A rule may be held by a test of its own level besides; what goes over the wire is seen on the wire."""
    for row, tests in (QUOTED.get(section) or KNOWN[section]).items():
        on_the_wire = any("/" not in test for test in named_by(tests))
        assert on_the_wire or not row.startswith(("`{", "GET", "POST", "PUT", "PATCH", "DELETE")), row


@pytest.mark.parametrize(
    ("rows", "there"),
    [
        (frames.PORTAL_SENDS, sent_by("portal_socket", "portal_wire", "socket_loop", "sockets", "push")),
        (
            frames.CHAT_SENDS,
            sent_by("chat_socket", "chat_wire", "socket_loop", "sockets", "push") | AS_FRAMES,
        ),
        (frames.TASK_SENDS, sent_by("task_socket", "socket_loop")),
        (frames.FEED_SENDS, sent_by("feed_socket", "socket_loop")),
        (frames.EVOLUTION_SENDS, sent_by("evolution_socket", "socket_loop")),
        (frames.EVOLUTION_TAKES, set(evolution_socket.KINDS)),
        (frames.PORTAL_TAKES, set(portal_socket.KINDS)),
        (frames.CHAT_TAKES, set(chat_socket.KINDS)),
        (frames.TASK_TAKES, set(task_socket.KINDS)),
        (frames.FEED_TAKES, set(feed_socket.KINDS)),
        (frames.STEPS, steps_of_turns() | set(NAMES) | {"expert_silent"}),
        (frames.FRAMES_OF_MEETINGS, set(FRAMES)),
        (
            calls.PORTAL_REST
            | calls.CHAT_REST
            | calls.STORE_REST
            | calls.TASKS_REST
            | calls.PUSH_REST
            | calls.EVOLUTION_REST
            | calls.BEYOND,
            routes(),
        ),
    ],
)
def test_whatever_can_be_sent_or_called_is_in_the_table(rows: Rows, there: set[str]) -> None:
    """Guard: a frame, step or call that nobody has put to the test."""
    assert there
    untested = there - rows.keys()
    assert not untested, (
        f"{untested}: put each into a table of tests/acceptance/contract, with the test that shows it"
    )


def test_the_document_is_up_to_date() -> None:
    """docs/contract.md is what the table says. Run with UPDATE_DOCS=1 to write it."""
    made = rendered()
    if os.environ.get("UPDATE_DOCS"):
        DOCUMENT.write_text(made, encoding="utf-8")
    assert DOCUMENT.read_text(encoding="utf-8") == made, (
        "run tests/acceptance/test_contract.py with UPDATE_DOCS=1"
    )
