"""What Schemathesis has to know of this API besides its document. Loaded by `schemathesis run` (`test_schema.py`).

Nothing here takes a check back. Good data that only this server can know to be good is made good; bad data is sent as
it comes.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode, HookContext

PRINTABLE = st.characters(codec="utf-8").filter(str.isprintable)
schemathesis.openapi.format("one-line", st.text(PRINTABLE, max_size=200))
schemathesis.openapi.format(
    "conversation-id", st.text(PRINTABLE.filter(lambda one: one != "/"), min_size=1, max_size=200)
)
GIVEN_OUT = ("cursor", "after", "as_of")
"""Only the server knows which cursors there are, and moments."""
GROUPS = ("agent", "skill", "mode", "model", "department", "task_type")


@schemathesis.hook
def before_call(context: HookContext, case: Case, kwargs: dict[str, object]) -> None:
    """Nothing is waited for: a minute a case would be too long."""
    query = case.query if isinstance(case.query, dict) else {}
    wait = query.get("wait")
    if isinstance(wait, int | float) and not isinstance(wait, bool) and wait > 0:
        query["wait"] = 0
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    for name in GIVEN_OUT:
        if isinstance(query.get(name), str):
            del query[name]
    _make_sense(case.path, query)
    if isinstance(case.body, dict):
        _make_good(case.path, case.body)


def _make_sense(path: str, query: dict[str, Any]) -> None:
    """A range begins before it ends, a time zone is one, and metrics are of one group at most."""
    good = {"since": "2026-01-01T00:00:00Z", "until": "2026-02-01T00:00:00Z", "zone": "Asia/Shanghai"}
    query.update({name: value for name, value in good.items() if name in query})
    named = [name for name in GROUPS if name in query] if path.endswith("/evolution/metrics") else []
    for name in named[1:]:
        del query[name]


def _make_good(path: str, body: dict[str, Any]) -> None:
    """Times are in the future, the plan of a schedule is one, a user's department is there (none is always), and a key
    may what every role may."""
    soon = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    known = {"at": soon, "expires_at": soon, "cron": "0 9 * * 1", "time_zone": "Asia/Shanghai"}
    if "/users" in path:
        known["department_id"] = ""
    for name, value in known.items():
        if isinstance(body.get(name), str):
            body[name] = value
    if path.endswith("/keys") and body.get("scopes"):
        body["scopes"] = ["read"]
