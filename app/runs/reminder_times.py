"""When reminders are due: at a time, or by a cron expression in a time zone. No clock: `now` is an argument."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from app.core.reasons import reason_in
from app.core.texts import Locale, text
from app.runs.refused import Refused

YEARS_MAX = 10
TOLERANCE_SECONDS = 5.0
"""How far in the past a time may be: requests take a while, and clocks differ."""
CRON_CHARS_MAX = 200
CRON_FIELDS = 5
ZONE_CHARS_MAX = 64
_AHEAD = timedelta(days=366 * YEARS_MAX)


class ZoneUnknown(Refused):
    """No such IANA time zone. Value: `given`."""

    key = "reminder_zone_unknown"


class AtInvalid(Refused):
    """Not RFC 3339 with an offset. Value: `given`."""

    key = "reminder_at_invalid"


class AtPast(Refused):
    """Values: `given`, `now`."""

    key = "reminder_at_past"


class AtFar(Refused):
    """Values: `given`, `years`."""

    key = "reminder_at_far"


class CronInvalid(Refused):
    """Values: `given`, `reason`."""

    key = "reminder_cron_invalid"

    def sentence(self, locale: Locale) -> str:
        reason = reason_in(str(self.values["reason"]), locale)
        return text(self.key, locale, **{**self.values, "reason": reason})


class CronNever(Refused):
    """Values: `given`, `years`."""

    key = "reminder_cron_never"


def time_of(at: str, now: datetime) -> datetime:
    """The time in UTC. Raises `AtInvalid`, `AtPast`, `AtFar` (10 years)."""
    try:
        found = msgspec.convert(at, datetime).astimezone(UTC) if len(at) <= ZONE_CHARS_MAX else None
        aware = found is not None and msgspec.convert(at, datetime).tzinfo is not None
    except (msgspec.ValidationError, OverflowError, ValueError):
        found, aware = None, False
    if found is None or not aware:
        raise AtInvalid(given=at[:ZONE_CHARS_MAX])
    if found < now - timedelta(seconds=TOLERANCE_SECONDS):
        raise AtPast(given=written(found), now=written(now))
    if found > now + _AHEAD:
        raise AtFar(given=written(found), years=YEARS_MAX)
    return found


def zone_of(name: str) -> ZoneInfo:
    """Raises `ZoneUnknown`."""
    try:
        if not name.isascii() or len(name) > ZONE_CHARS_MAX:
            raise ZoneUnknown(given=name[:ZONE_CHARS_MAX])
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ZoneUnknown(given=name[:ZONE_CHARS_MAX]) from None


def next_time(cron: str, time_zone: str, after: datetime) -> datetime:
    """The first time behind `after` that the expression names, in UTC. Never more than once a minute.

    On the days when clocks change: what would be at an hour that is left out is when it would have been; what is at an
    hour that comes twice is once; what is every hour or minute goes on so (as Debian's cron does it). Raises
    `ZoneUnknown`, `CronInvalid`, `CronNever`.
    """
    zone = zone_of(time_zone)
    shown = cron[:CRON_CHARS_MAX]
    if len(cron) > CRON_CHARS_MAX:
        raise CronInvalid(given=shown, reason=f"more than {CRON_CHARS_MAX} characters")
    if len(cron.split()) != CRON_FIELDS:
        raise CronInvalid(given=shown, reason=f"{len(cron.split())} fields")
    try:
        times = CronSim(cron, after.astimezone(zone))
        found = next(times).astimezone(UTC)
        while found <= after:  # in the second half of an hour that comes twice
            found = next(times).astimezone(UTC)
    except (CronSimError, AssertionError, TypeError, ValueError) as error:
        raise CronInvalid(given=shown, reason=str(error)[:80] or "not understood") from None
    except (StopIteration, OverflowError):
        raise CronNever(given=shown, years=YEARS_MAX) from None
    if found > after + _AHEAD:
        raise CronNever(given=shown, years=YEARS_MAX)
    return found


def written(time: datetime) -> str:
    """RFC 3339 UTC, as it stands in events."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
