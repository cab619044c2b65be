"""`clock`: the present date and time in a time zone."""

import asyncio
import difflib
import zoneinfo
from datetime import datetime, tzinfo
from functools import cache
from typing import Annotated

from msgspec import Meta, Struct

from app.tools.tool import InvalidArguments, Tool, ToolContext, make_tool

SUGGESTIONS_MAX = 3


class ClockArguments(Struct, frozen=True, forbid_unknown_fields=True):
    timezone: Annotated[
        str, Meta(description="IANA time zone, for example Asia/Shanghai or Europe/Berlin", max_length=64)
    ] = "UTC"


def tool() -> Tool:
    return make_tool(
        "clock",
        "Tells the present date, time and weekday in a time zone.",
        ClockArguments,
        tell,
        effect="pure",
    )


async def tell(arguments: ClockArguments, context: ToolContext) -> str:
    """The time of `context.now()` in that zone."""
    zone = await asyncio.to_thread(find_zone, arguments.timezone.strip() or "UTC")
    return shown(context.now().astimezone(zone), str(zone))


def shown(moment: datetime, zone: str) -> str:
    """For example `2026-03-01T12:34:56+08:00, Sunday, Asia/Shanghai`."""
    return f"{moment.isoformat(timespec='seconds')}, {moment:%A}, {zone}"


def find_zone(name: str) -> tzinfo:
    """The zone, also by its city or in another case. Raises `InvalidArguments` with the nearest names. Reads files."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        pass
    wanted = name.casefold().replace(" ", "_")
    known = _zones()
    if wanted in known:
        return zoneinfo.ZoneInfo(known[wanted])
    near = list(
        dict.fromkeys(known[key] for key in difflib.get_close_matches(wanted, known, SUGGESTIONS_MAX, 0.75))
    )
    hint = f"did you mean {' or '.join(near)}?" if near else "names look like Asia/Shanghai or Europe/Berlin."
    raise InvalidArguments(f"There is no time zone {name!r}; {hint}")


@cache
def _zones() -> dict[str, str]:
    """Names by their lower-case form, and by their city alone where it is the only one."""
    names = sorted(zoneinfo.available_timezones())
    cities: dict[str, set[str]] = {}
    for name in names:
        area, _, city = name.rpartition("/")
        if area and area != "Etc":
            cities.setdefault(city.casefold(), set()).add(name)
    alone = {city: min(found) for city, found in cities.items() if len(found) == 1}
    return alone | {name.casefold(): name for name in names}
