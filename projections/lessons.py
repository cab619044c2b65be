"""What past experiences teach: the most relevant ones for a new goal, and pitfalls, which are failures that repeat.

Both read the views `experiences` and `experience_texts`, as far as these are.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from app.core.lessons import LESSONS_MAX, Lesson
from projections.experience_texts import GOAL_CHARS_MAX, cut, terms_of
from projections.lesson_words import telling
from projections.tables import fetch_rows

MATCHES_MAX = 500
CANDIDATES_MAX = 100
WORDS_SHARED_MIN = 2
SHARE_MIN = 0.5
FAILURES_MAX = 50_000
RUNS_MAX = 20_000
PITFALLS_MAX = 100
EXAMPLES_MAX = 3


class Example(msgspec.Struct, frozen=True):
    """One of a pitfall's tasks. `goal` is empty where its conversation was deleted."""

    id: UUID
    conversation_id: str
    ended_at: datetime
    goal: str = ""


class Pitfall(msgspec.Struct, frozen=True, kw_only=True):
    """A failure that repeats. Kind `run`: tasks of a type by an agent that failed in one way (`error_class`). Kind
    `tool`: calls of `tool` that failed, in whatever tasks.

    `failures` are tasks of kind `run`, calls of kind `tool`; there `calls` is how many calls were made in all. The
    times are those at which the first and the last of the tasks ended; `examples` are the newest, at most three.
    """

    kind: Literal["run", "tool"]
    task_type: str = ""
    agent: str = ""
    error_class: str = ""
    tool: str = ""
    failures: int
    calls: int = 0
    first_at: datetime
    last_at: datetime
    examples: tuple[Example, ...] = ()


async def pitfalls(
    pool: AsyncConnectionPool,
    *,
    owner: str | None,
    since: datetime,
    until: datetime,
    position: int | None = None,
    at_least: int = 3,
    limit: int = 20,
) -> list[Pitfall]:
    """What failed at least `at_least` times in tasks of this owner (None: of everybody) that ended from `since` until
    before `until`, the most frequent first; at most `limit`, which is at most 100. With `position` nothing that ended
    behind it in the log.

    Looks at the newest 50 000 failed tasks of that time, for tools at its newest 20 000 tasks. Raises
    `ViewsUnavailable`.
    """
    limit = max(0, min(limit, PITFALLS_MAX))
    scope, of_owner = ("", ()) if owner is None else ("AND e.owner = %s", (owner,))
    arguments = (since, until, position, position, *of_owner, max(1, at_least), limit)
    found = await fetch_rows(pool, Pitfall, _FAILED_RUNS.format(scope=scope), arguments)
    found += await fetch_rows(pool, Pitfall, _FAILED_CALLS.format(scope=scope), arguments)
    return sorted(found, key=lambda one: (-one.failures, -one.last_at.timestamp()))[:limit]


_EXAMPLES = """
SELECT p.*, coalesce((
    SELECT json_agg(json_build_object(
        'id', n.id, 'conversation_id', n.conversation_id, 'ended_at', n.ended_at, 'goal', coalesce(t.goal, '')
    ) ORDER BY n.newest)
    FROM numbered n LEFT JOIN experience_texts t ON t.id = n.id
    WHERE n.number = p.number
), '[]') AS examples FROM pitfalls p
"""
_FAILED_RUNS = f"""
WITH failed AS MATERIALIZED (
    SELECT e.id, e.conversation_id, e.task_type, e.agent, e.error_class, e.ended_at FROM experiences e
    WHERE e.outcome = 'failure' AND e.ended_at >= %s AND e.ended_at < %s
        AND (%s::bigint IS NULL OR e.position <= %s) {{scope}}
    ORDER BY e.ended_at DESC, e.id DESC LIMIT {FAILURES_MAX}
), pitfalls AS MATERIALIZED (
    SELECT row_number() OVER () AS number, 'run' AS kind, task_type, agent, error_class, count(*) AS failures,
           min(ended_at) AS first_at, max(ended_at) AS last_at
    FROM failed GROUP BY task_type, agent, error_class HAVING count(*) >= %s
    ORDER BY failures DESC, last_at DESC LIMIT %s
), numbered AS MATERIALIZED (
    SELECT * FROM (
        SELECT f.*, p.number, row_number() OVER (PARTITION BY p.number ORDER BY f.ended_at DESC, f.id DESC) AS newest
        FROM failed f JOIN pitfalls p USING (task_type, agent, error_class)
    ) r WHERE newest <= {EXAMPLES_MAX}
){_EXAMPLES}"""  # noqa: S608
_FAILED_CALLS = f"""
WITH ended AS MATERIALIZED (
    SELECT e.id, e.conversation_id, e.ended_at, e.tools FROM experiences e
    WHERE e.outcome IS NOT NULL AND e.ended_at >= %s AND e.ended_at < %s
        AND (%s::bigint IS NULL OR e.position <= %s) {{scope}}
    ORDER BY e.ended_at DESC, e.id DESC LIMIT {RUNS_MAX}
), used AS MATERIALIZED (
    SELECT e.id, e.conversation_id, e.ended_at, u.key AS tool, coalesce((u.value->>'calls')::bigint, 0) AS calls,
           coalesce((u.value->>'errors')::bigint, 0) AS errors
    FROM ended e CROSS JOIN LATERAL json_each(e.tools) u
), pitfalls AS MATERIALIZED (
    SELECT row_number() OVER () AS number, 'tool' AS kind, tool,
           sum(errors)::bigint AS failures, sum(calls)::bigint AS calls,
           min(ended_at) FILTER (WHERE errors > 0) AS first_at, max(ended_at) FILTER (WHERE errors > 0) AS last_at
    FROM used GROUP BY tool HAVING sum(errors) >= %s ORDER BY failures DESC, last_at DESC LIMIT %s
), numbered AS MATERIALIZED (
    SELECT * FROM (
        SELECT u.*, p.number, row_number() OVER (PARTITION BY p.number ORDER BY u.ended_at DESC, u.id DESC) AS newest
        FROM used u JOIN pitfalls p USING (tool) WHERE u.errors > 0
    ) r WHERE newest <= {EXAMPLES_MAX}
){_EXAMPLES}"""  # noqa: S608


class _Use(msgspec.Struct, frozen=True):
    errors: int = 0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An ended experience that has a word of the goal."""

    id: UUID
    task_type: str
    outcome: Literal["success", "failure"]
    ended_at: datetime
    error_class: str = ""
    goal: str = ""
    terms: str = ""
    result: str = ""
    problem: str = ""
    tools: dict[str, _Use] = {}


async def relevant(
    pool: AsyncConnectionPool, *, owner: str, task_id: UUID, task_type: str, goal: str, limit: int
) -> list[Lesson]:
    """The past experiences of this owner that are most like the goal of the task `task_id`; at most `limit`, which is
    at most 10. Raises `ViewsUnavailable`.

    Failures too, for they teach what to avoid. Not what was cancelled, which says nothing of how it would have ended,
    and not what other tasks have started. Of the words that tell (`lesson_words.py`), the goals share two, and half of
    those of the shorter one: see `best`.
    """
    words = telling(terms_of(cut(goal, GOAL_CHARS_MAX)))
    limit = max(0, min(limit, LESSONS_MAX))
    if not words or not limit:
        return []
    query = " | ".join(f"'{word}'" for word in words)
    found = await fetch_rows(pool, Candidate, _CANDIDATES, (owner, task_id, query, query))
    return [_lesson(one) for one in best(found, words, task_type)[:limit]]


# The inner query leaves the choice to the planner: rare words are looked up in their index; with frequent ones it walks
# the owner's experiences from the newest one back until it has enough.
_CANDIDATES = f"""
SELECT c.* FROM (
    SELECT e.id, e.task_type, e.outcome, e.ended_at, e.error_class, e.tools, t.goal, t.terms, t.result, t.problem
    FROM experiences e JOIN experience_texts t ON t.id = e.id AND t.owner = e.owner
    WHERE e.owner = %s AND e.id <> %s AND e.outcome IS NOT NULL AND e.parent IS NULL
        AND CASE e.outcome WHEN 'success' THEN t.result <> '' ELSE e.outcome = 'failure' END
        AND to_tsvector('simple', t.terms) @@ to_tsquery('simple', %s)
    ORDER BY e.ended_at DESC, e.id DESC LIMIT {MATCHES_MAX}
) c ORDER BY ts_rank(to_tsvector('simple', c.terms), to_tsquery('simple', %s)) DESC, c.ended_at DESC
LIMIT {CANDIDATES_MAX}
"""  # noqa: S608


def best(found: Sequence[Candidate], words: Collection[str], task_type: str) -> list[Candidate]:
    """Those that are alike enough, the best first, and of several with the same goal and end only the newest.

    Those of the same type stand before all others, since they had the same prompt, tools and way of working; others
    fill up. Then it counts how many words are shared; a failure stands before a success that is as much alike.
    """
    alike = [(one, shared) for one in found if (shared := _shared(telling(one.terms.split()), words))]
    alike.sort(
        key=lambda pair: (
            pair[0].task_type != task_type,
            -pair[1],
            pair[0].outcome != "failure",
            -pair[0].ended_at.timestamp(),
        )
    )
    kept: dict[tuple[str, ...], Candidate] = {}
    for one, _ in alike:
        kept.setdefault((one.task_type, one.terms, one.outcome, one.error_class), one)
    return list(kept.values())


def _shared(told: Collection[str], words: Collection[str]) -> int:
    """How many words they share; 0 where that is too few to be about the same."""
    shared = len(set(told) & set(words))
    enough = max(min(WORDS_SHARED_MIN, len(words)), SHARE_MIN * min(len(told), len(words)))
    return shared if shared >= enough else 0


def _lesson(one: Candidate) -> Lesson:
    failed = sorted(
        (name for name, use in one.tools.items() if use.errors), key=lambda n: -one.tools[n].errors
    )
    return Lesson(
        id=str(one.id),
        outcome=one.outcome,
        ended_at=one.ended_at,
        error_class=one.error_class,
        goal=one.goal,
        result=one.result,
        problem=one.problem,
        failed_tools=tuple(failed),
    )
