"""Quotas over real views: exact under load and on two nodes, checked before every message and every model call."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from app.agents.modes import MODES, ModeEntry
from app.core.admin_events import QuotaInfo, QuotaRemoved, QuotaSet
from app.core.envelope import Recorded
from app.core.events import ExpertCard, ModelAnswered, RunFailed, RunRequested, TeamFormed
from app.core.intents import ChildSpec, Mode, RunStart, await_run, start_run, take_minute
from app.core.quotas import Tally
from app.gateway.scripted import Answer, Rule, ScriptedModel, When
from app.log.errors import LogUnavailable
from app.log.log import Log
from app.runs.accept import Accepted
from app.runs.quotas import UNBOUND, Charge, Quotas
from app.runs.refused import QuotaExceeded
from tests.support.logs import lock_waits, open_logs, session, whole_log, within
from tests.support.quotas import (
    ALONE,
    SALES,
    TOKENS_A_CALL,
    CountingMeter,
    PricedModel,
    administer,
    department_quota,
    measured,
)
from tests.support.runs import DyingLog, Killed, Process, SlowLog, of_type, process, stream_events, types

RUNS = 50
ROUNDS = 2


@asynccontextmanager
async def two_nodes(dsn: str, model: ScriptedModel, **options: Any) -> AsyncIterator[list[Process]]:
    """Each with a log, views and quotas of its own."""
    async with (
        open_logs(dsn, 2) as (first, second),
        measured(first, dsn) as (ours, _),
        measured(second, dsn) as (theirs, _),
        process(first, model, quotas=ours, **options) as one,
        process(second, model, quotas=theirs, **options) as other,
    ):
        yield [one, other]


def spent_before(events: list[Recorded], called: Recorded) -> int:
    """Tokens that were on record when this call was."""
    answers = [one.event() for one in events[: called.position] if one.type == "model.answered"]
    return sum(one.answer.usage.total_tokens for one in answers if isinstance(one, ModelAnswered))


async def test_fifty_runs_on_two_nodes_overshoot_by_no_more_than_a_call_each(dsn: str) -> None:
    limit = 4_000
    async with two_nodes(dsn, PricedModel(ROUNDS)) as nodes:
        await administer(nodes[0].log, department_quota("tokens", limit))

        async def one(number: int) -> None:
            node = nodes[number % 2]
            accepted = await node.conversations.accept("alice", "go", f"c{number}", charge=SALES)
            await node.runs.start(accepted)

        await within(asyncio.gather(*(one(number) for number in range(RUNS))), 60)
        events = await whole_log(nodes[0].log)
    answered = [one for one in events if one.type == "model.answered"]
    total = sum(one.event().answer.usage.total_tokens for one in answered)  # type: ignore[union-attr]
    assert limit <= total <= limit + RUNS * TOKENS_A_CALL
    failed = [one.event() for one in events if one.type == "run.failed"]
    assert failed
    for run in failed:
        assert isinstance(run, RunFailed)
        assert run.error_class == "quota_exceeded"
        assert run.quota_info is not None
        assert (run.quota_info.department_id, run.quota_info.limit) == ("sales", limit)
        assert limit <= run.quota_info.current <= total
    # No call was made of which the log knew, when it was intended, that nothing was left for it.
    intended = {(one.task_id, payload(one)["step"]): one for one in events if one.type == "model.called"}
    for one in answered:
        assert spent_before(events, intended[one.task_id, payload(one)["step"]]) < limit


async def test_fifty_messages_at_once_on_two_nodes_are_taken_up_to_the_limit_and_not_one_more(
    dsn: str,
) -> None:
    limit = 7
    async with two_nodes(dsn, PricedModel()) as nodes:
        await administer(nodes[0].log, department_quota("requests", limit, "day"))

        async def one(number: int) -> Accepted | QuotaExceeded:
            try:
                return await nodes[number % 2].conversations.accept(
                    f"user{number % 5}", "hello", f"c{number}", charge=SALES
                )
            except QuotaExceeded as error:
                return error

        results = await within(asyncio.gather(*(one(number) for number in range(RUNS))), 60)
        events = await whole_log(nodes[0].log)
    refused = [one for one in results if isinstance(one, QuotaExceeded)]
    assert len(refused) == RUNS - limit
    assert {one.info for one in refused} == {QuotaInfo("sales", "requests", "day", limit, limit)}
    assert sum(one.type == "run.requested" for one in events) == limit
    assert sum(one.type == "message.received" for one in events) == limit


async def test_a_message_waits_for_one_that_another_node_is_about_to_write(dsn: str) -> None:
    """Guard: the lock that a message is taken under."""
    async with (
        open_logs(dsn, 2) as (first, second),
        session(dsn) as beside,
        measured(first, dsn) as (ours, _),
        measured(second, dsn) as (theirs, _),
    ):
        await administer(first, department_quota("requests", 1))
        slow = SlowLog(first, "run.requested")
        async with (
            process(slow, PricedModel(), quotas=ours) as one,  # type: ignore[arg-type]
            process(second, PricedModel(), quotas=theirs) as other,
        ):
            taken = asyncio.create_task(one.conversations.accept("alice", "hello", charge=SALES))
            await slow.reached.wait()
            late = asyncio.create_task(other.conversations.accept("bob", "hello", charge=SALES))
            await asyncio.wait(
                {late, waits := asyncio.create_task(lock_waits(beside))}, return_when="FIRST_COMPLETED"
            )
            slow.go_on.set()
            await taken
            with pytest.raises(QuotaExceeded):
                await late
            await waits


async def test_quotas_of_a_user_and_of_the_department_both_hold(log: Log, dsn: str) -> None:
    """Guard: the check waits for the view to know all that is committed."""
    async with measured(log, dsn) as (quotas, _), process(log, PricedModel(), quotas=quotas) as p:
        own = QuotaSet("user", "alice", "requests", "month", 1)
        await administer(log, own, department_quota("requests", 2))
        await p.conversations.accept("alice", "one", charge=SALES)
        with pytest.raises(QuotaExceeded) as refused:
            await p.conversations.accept("alice", "two", charge=SALES)
        assert refused.value.info == QuotaInfo("", "requests", "month", 1, 1)
        await p.conversations.accept("bob", "one", charge=SALES)
        with pytest.raises(QuotaExceeded) as refused:
            await p.conversations.accept("bob", "two", charge=SALES)
        assert refused.value.info == QuotaInfo("sales", "requests", "month", 2, 2)


async def test_a_refused_message_leaves_nothing_behind(log: Log, dsn: str) -> None:
    async with measured(log, dsn) as (quotas, _), process(log, PricedModel(), quotas=quotas) as p:
        await administer(log, department_quota("cost", 0.0))
        before = await log.reader.position()
        with pytest.raises(QuotaExceeded):
            await p.conversations.accept("alice", "hello", "c", charge=SALES)
        assert await log.reader.position() == before


async def test_a_message_that_was_taken_is_the_same_message_also_when_nothing_is_left(
    log: Log, dsn: str
) -> None:
    async with measured(log, dsn) as (quotas, _), process(log, PricedModel(), quotas=quotas) as p:
        await administer(log, department_quota("requests", 1))
        sent: dict[str, Any] = {"client_message_id": "m1", "charge": SALES}
        first = await p.conversations.accept("alice", "hello", "c", **sent)
        again = await p.conversations.accept("alice", "hello", "c", **sent)
        assert (again.task_id, again.duplicate) == (first.task_id, True)


@pytest.mark.parametrize("charge", [UNBOUND, Charge("sales", "", bound=False)])
async def test_admins_and_service_keys_are_not_bound_and_do_not_count(
    log: Log, dsn: str, charge: Charge
) -> None:
    async with measured(log, dsn) as (quotas, meter), process(log, PricedModel(1), quotas=quotas) as p:
        await administer(log, department_quota("tokens", 1), QuotaSet("user", "alice", "requests", "hour", 0))
        assert types(await p.run("go", charge=charge))[-1] == "run.completed"
        assert meter.asked == []
        await p.conversations.accept("bob", "hello", charge=SALES)  # nothing of sales is used


async def test_who_has_no_quota_is_not_measured(log: Log, dsn: str) -> None:
    async with measured(log, dsn) as (quotas, meter), process(log, PricedModel(1), quotas=quotas) as p:
        await administer(log, QuotaSet("department", "law", "tokens", "hour", 0))
        assert types(await p.run("go", charge=SALES))[-1] == "run.completed"
        assert meter.asked == []


async def test_the_hours_end_gives_everything_back(log: Log, dsn: str) -> None:
    clock = [datetime.now(UTC)]
    async with (
        measured(log, dsn, now=lambda: clock[0]) as (quotas, _),
        process(log, PricedModel(), quotas=quotas) as p,
    ):
        await administer(log, department_quota("tokens", TOKENS_A_CALL, "hour"))
        await p.run("one", charge=SALES)
        with pytest.raises(QuotaExceeded) as refused:
            await p.run("two", charge=SALES)
        clock[0] += timedelta(seconds=refused.value.seconds_left)
        assert types(await p.run("three", charge=SALES))[-1] == "run.completed"


async def test_another_limit_holds_from_the_next_check_on(log: Log, dsn: str) -> None:
    async with measured(log, dsn) as (quotas, _), process(log, PricedModel(), quotas=quotas) as p:
        for limit, taken in ((0, False), (5, True), (1, False)):
            await administer(log, department_quota("requests", limit))
            if taken:
                await p.conversations.accept("alice", "hello", charge=SALES)
            else:
                with pytest.raises(QuotaExceeded):
                    await p.conversations.accept("alice", "hello", charge=SALES)
        await administer(log, QuotaRemoved("department", "sales", "requests", "month"))
        await p.conversations.accept("alice", "hello", charge=SALES)


async def test_a_run_ends_before_the_call_that_is_one_too_many(log: Log, dsn: str) -> None:
    async with measured(log, dsn) as (quotas, _), process(log, PricedModel(5), quotas=quotas) as p:
        await administer(log, department_quota("cost", 0.015))
        events = await p.run("go", charge=SALES)
    (failed,) = of_type(events, "run.failed")
    assert failed["error_class"] == "quota_exceeded"
    info = {
        "department_id": "sales",
        "quota_type": "cost",
        "period": "month",
        "limit": 0.015,
        "current": 0.02,
    }
    assert failed["quota_info"] == info
    assert failed["message"].startswith("Your department has used up its 0.015 US dollars for this month;")
    assert len(of_type(events, "model.answered")) == 2
    assert [one["error_class"] for one in of_type(events, "model.failed")] == ["quota_exceeded"]


async def test_the_last_request_that_a_quota_allows_is_answered(log: Log, dsn: str) -> None:
    async with measured(log, dsn) as (quotas, _), process(log, PricedModel(2), quotas=quotas) as p:
        await administer(log, department_quota("requests", 1))
        assert types(await p.run("go", charge=SALES))[-1] == "run.completed"


async def test_calls_with_an_outcome_are_not_checked_again_after_a_restart(log: Log, dsn: str) -> None:
    async with measured(log, dsn) as (quotas, meter):
        await administer(log, department_quota("tokens", 1_000))
        dying = DyingLog(log, 4, written=True)
        async with process(dying, PricedModel(2), quotas=quotas) as p:  # type: ignore[arg-type]
            accepted = await p.conversations.accept("alice", "go", "c", charge=SALES)
            with pytest.raises(Killed):
                await p.runs.start(accepted)
        before = await stream_events(log, accepted.stream)
        assert types(before)[-1] == "model.answered"
        done = len(of_type(before, "model.answered"))
        meter.asked.clear()
        async with process(log, PricedModel(2), quotas=quotas) as p:
            await p.runs.resume(accepted.task_id, accepted.stream)
    after = await stream_events(log, accepted.stream)
    assert types(after)[-1] == "run.completed"
    assert 0 < done < len(of_type(after, "model.answered")) == 3
    assert len(meter.asked) == 3 - done


async def test_calls_of_a_run_under_a_quota_are_made_one_at_a_time(log: Log, dsn: str) -> None:
    """A plan of five questions to the model that could be asked at once. Guard: the lock around a call."""
    plan = "\n".join(f"Plan: ask\n#E{n} = LLM[question {n}]" for n in range(1, 6))
    rules = [Rule(Answer(text=plan), When(last_user_contains="Plan:"))]
    model = PricedModel()
    model._rules = tuple(rules)
    async with measured(log, dsn) as (quotas, _), process(log, model, quotas=quotas) as p:
        await administer(log, department_quota("tokens", 3 * TOKENS_A_CALL))
        events = await p.run("go", charge=SALES, mode="rewoo")
    assert len(of_type(events, "model.called")) == 6
    assert len(of_type(events, "model.answered")) == 3
    (failed,) = of_type(events, "run.failed")
    assert failed["quota_info"]["current"] == 3 * TOKENS_A_CALL


class Away:
    """A meter that does not answer the first times."""

    def __init__(self, meter: CountingMeter, times: int) -> None:
        self._meter = meter
        self.left = times

    async def tally(self, *arguments: Any) -> Tally:
        if self.left:
            self.left -= 1
            raise LogUnavailable("away")
        return await self._meter.tally(*arguments)


async def test_while_nobody_knows_what_was_used_nothing_is_allowed(log: Log, dsn: str) -> None:
    async with measured(log, dsn) as (quotas, meter):
        away = Away(meter, 0)
        guarded = Quotas(quotas._directory, away, log.exclusively)
        async with process(log, PricedModel(), quotas=guarded) as p:
            await administer(log, department_quota("tokens", 500))
            accepted = await p.conversations.accept("alice", "hello", "c", charge=SALES)
            away.left = 1
            before = await log.reader.position()
            with pytest.raises(LogUnavailable):
                await p.conversations.accept("alice", "again", "d", charge=SALES)
            assert await log.reader.position() == before
            away.left = 2
            await p.runs.start(accepted)
    assert away.left == 0
    assert types(await stream_events(log, accepted.stream))[-1] == "run.completed"


def lone_member(start: RunStart) -> Mode:
    """A team whose lead says nothing: it goes by what its member came to."""
    yield from take_minute(TeamFormed(start.input, (ExpertCard("ana", "Ana"),), "ana"))
    child = yield from start_run(ChildSpec("work", "Ana", expert_id="ana"))
    ended = yield from await_run((child,))
    return ended.content or str(ended.error_class)


async def test_a_member_without_quota_ends_the_team(
    log: Log, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODES, "lone", ModeEntry(1, lone_member))
    async with measured(log, dsn) as (quotas, _), process(log, PricedModel(5), quotas=quotas) as p:
        await administer(log, department_quota("tokens", TOKENS_A_CALL))
        accepted = await p.conversations.accept("alice", "go", "c", charge=SALES, mode="lone")
        await p.runs.start(accepted)
        events = await stream_events(log, accepted.stream)
    requested = [one.event() for one in events if one.type == "run.requested"]
    assert [(one.charged_to, one.bound) for one in requested if isinstance(one, RunRequested)] == [
        ("sales", True)
    ] * 2
    ends = [payload(one) for one in events if one.type == "run.failed"]
    assert [one["error_class"] for one in ends] == ["quota_exceeded"] * 2
    assert ends[1]["quota_info"] == ends[0]["quota_info"]
    assert [one["reason"] for one in of_type(events, "team.dissolved")] == ["quota_exceeded"]


async def test_a_user_without_a_department_has_quotas_too(log: Log, dsn: str) -> None:
    async with measured(log, dsn) as (quotas, _), process(log, PricedModel(3), quotas=quotas) as p:
        await administer(log, QuotaSet("user", "alice", "tokens", "day", TOKENS_A_CALL))
        events = await p.run("go", charge=ALONE)
        assert of_type(events, "run.failed")[0]["quota_info"]["department_id"] == ""
        events = await p.run("go", conversation_id="other", charge=UNBOUND)
        assert types(events)[-1] == "run.completed"


def payload(recorded: Recorded) -> dict[str, Any]:
    return msgspec.json.decode(recorded.payload)
