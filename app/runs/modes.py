"""Which modes there are. A run records the version it was started with; a replay that diverges fails and names it."""

from collections.abc import Callable

import msgspec

from app.agents import direct, react
from app.core.intents import Mode, RunStart


class ModeEntry(msgspec.Struct, frozen=True):
    """`version` grows with every change of a mode that makes it act differently on the same outcomes."""

    version: int
    run: Callable[[RunStart], Mode]
    uses_tools: bool = True


MODES: dict[str, ModeEntry] = {
    "direct_chat": ModeEntry(direct.VERSION, direct.direct_chat, uses_tools=False),
    "react": ModeEntry(react.VERSION, react.react),
}
