"""Which modes there are. A run records the version it was started with; a replay that diverges fails and names it."""

from collections.abc import Callable

import msgspec

from app.agents import board, direct, operation, plan_exec, react, reflexion, rewoo, skill_react, team
from app.agents.summary import with_summary
from app.core.intents import Mode, RunStart
from app.core.meeting_events import BOARD_MODE, TEAM_MODE


class ModeEntry(msgspec.Struct, frozen=True):
    """`version` grows with every change of a mode that makes it act differently on the same outcomes.

    `in_files`: a skill or an agent may name it. `on_request`: a client may ask for it by name.
    """

    version: int
    run: Callable[[RunStart], Mode]
    uses_tools: bool = True
    in_files: bool = True
    on_request: bool = True


MODES: dict[str, ModeEntry] = {
    "direct_chat": ModeEntry(direct.VERSION, with_summary(direct.direct_chat), uses_tools=False),
    "react": ModeEntry(react.VERSION, with_summary(react.react)),
    "skill_react": ModeEntry(skill_react.VERSION, with_summary(skill_react.skill_react)),
    "plan_exec": ModeEntry(plan_exec.VERSION, with_summary(plan_exec.plan_exec)),
    "rewoo": ModeEntry(rewoo.VERSION, with_summary(rewoo.rewoo)),
    "reflexion": ModeEntry(reflexion.VERSION, with_summary(reflexion.reflexion)),
    BOARD_MODE: ModeEntry(board.VERSION, board.board, uses_tools=False, in_files=False),
    TEAM_MODE: ModeEntry(team.VERSION, with_summary(team.team_collab), in_files=False),
    "operation": ModeEntry(operation.VERSION, operation.operation, in_files=False, on_request=False),
}
"""All but `operation` answer messages; that one is what a long-running tool goes on as."""


def modes_in_files() -> tuple[str, ...]:
    """Those that a skill or an agent may name."""
    return tuple(name for name, mode in MODES.items() if mode.in_files)


def modes_on_request() -> tuple[str, ...]:
    """Those that a client may ask for by name."""
    return tuple(name for name, mode in MODES.items() if mode.on_request)
