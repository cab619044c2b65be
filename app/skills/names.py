"""The names that a skill or an agent file may use."""

import difflib
from collections.abc import Collection, Iterable

import msgspec

CAPABILITIES = (
    "chat",
    "workflow",
    "knowledge",
    "skills",
    "terminal",
    "computer_use",
    "evolution",
    "settings",
)
"""The eight categories of the portal, as tags of a skill."""

TOOLS = frozenset(
    {
        "ask_human",
        "calculator",
        "clock",
        "fetch_url",
        "list_files",
        "operation_status",
        "read_file",
        "read_upload",
        "search",
        "shell",
        "write_file",
    }
)
"""Tools that ship, also those that are off by default: to name one that this deployment lacks is no error."""

FROM_OUTSIDE = "mcp__"
"""How names of tools of MCP servers begin. Which there are is only known while their servers are up."""


class Tools(msgspec.Struct, frozen=True):
    """`present`: the deployment's tools by name; a live collection, where tools come and go."""

    present: Collection[str] = ()

    def may_be_named(self, name: str) -> bool:
        return name in TOOLS or name in self.present or name.startswith(FROM_OUTSIDE)

    def listed(self) -> tuple[str, ...]:
        """Whatever may be named, as far as it is known, and sorted."""
        return tuple(sorted(TOOLS.union(self.present)))

    def missing(self, named: Collection[str] | None) -> tuple[str, ...]:
        """Those of the named tools that are not there now."""
        return tuple(name for name in named or () if name not in self.present)

    def notices(self, kind: str, named: Iterable[tuple[str, Collection[str] | None]]) -> tuple[str, ...]:
        """One sentence for each thing (its name, its tools) that is to use tools which are not there now."""
        return tuple(
            f"{kind} {name!r} works without {', '.join(missing)}: not enabled in this deployment"
            for name, tools in named
            if (missing := self.missing(tools))
        )


def alike(name: str, known: Iterable[str]) -> str:
    """` (did you mean 'react'?)` where a known name is near, else nothing."""
    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name.casefold()[:100], folded, 1)
    return f" (did you mean {folded[near[0]]!r}?)" if near else ""
