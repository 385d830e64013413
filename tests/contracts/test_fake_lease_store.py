"""Does the fake table of leases fail in all the ways that it promises? See tests/fakes/lease_store.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.errors import Throttled, Unreachable
from poller.model.lease import Row, RowKey
from tests.fakes.faults import Fault, FaultPlan, Outage
from tests.fakes.lease_store import FakeLeaseTable

pytestmark = pytest.mark.anyio

A, B = RowKey("clicks/stream/a"), RowKey("clicks/stream/b")


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def plan(*faults: Fault, operation: str = "update") -> FaultPlan:
    """Return a plan whose requests and answers take half a second each; the next calls have these faults."""
    faulty = FaultPlan(latency_in_seconds=(0.5, 0.5))
    faulty.script(operation, *faults)
    return faulty


async def table_with(*keys: RowKey, **options: Any) -> FakeLeaseTable:
    table = FakeLeaseTable(**options)
    await table.store("first").create([Row(key=key) for key in keys])
    return table


def counters(rows: Iterable[Row]) -> dict[RowKey, int]:
    return {row.key: row.counter for row in rows}


async def test_an_unanswered_write_arrives_at_once_or_later_or_never() -> None:
    arrivals = set()
    for seed in range(20):
        table = await table_with(A, seed=seed, late_in_seconds=(2.0, 3.0))
        sent_at = anyio.current_time()
        with pytest.raises(Unreachable) as error:
            await table.store("me", plan(Fault.ANSWER_LOST)).update([Row(key=A, counter=2)])
        assert error.value.was_sent
        is_written_at_once = table.rows[A].counter == 2
        await anyio.sleep(10)
        assert table.rows[A].counter in (1, 2)
        mine = [write for write in table.history if write.worker == "me"]
        assert len(mine) == table.rows[A].counter - 1
        for write in mine:
            assert write.is_accepted
            assert write.sent_at == sent_at
            assert write.at == sent_at + 0.5 if is_written_at_once else 2.5 <= write.at - sent_at <= 3.5
        arrivals.add((is_written_at_once, table.rows[A].counter))
    assert arrivals == {(True, 2), (False, 2), (False, 1)}


async def test_a_write_that_arrives_late_is_rejected_if_another_worker_was_faster() -> None:
    for seed in range(20):
        table = await table_with(A, seed=seed, late_in_seconds=(5.0, 5.0))
        with pytest.raises(Unreachable):
            await table.store("me", plan(Fault.ANSWER_LOST)).update([Row(key=A, counter=2)])
        if await table.store("the other").update([Row(key=A, counter=2)]):
            continue  # it was written at once
        await anyio.sleep(10)
        assert table.rows[A].counter == 2
        late = [write for write in table.history if write.worker == "me"]
        assert [(write.is_accepted, write.before) for write in late] in ([], [(False, Row(key=A, counter=2))])
        if late:
            return
    raise AssertionError("no write arrived late")


async def test_writes_are_applied_in_the_order_of_their_arrival() -> None:
    accepted = set()
    for seed in range(20):
        table = await table_with(A, seed=seed, late_in_seconds=(0.0, 10.0))
        with pytest.raises(Unreachable):
            await table.store("me", plan(Fault.ANSWER_LOST)).update([Row(key=A, counter=2)])
        await anyio.sleep(4)
        await table.store("the other").update([Row(key=A, counter=2)])
        await anyio.sleep(10)
        assert table.rows[A].counter == 2
        assert table.history == sorted(table.history, key=lambda write: write.at)
        accepted.add(tuple((write.worker, write.is_accepted) for write in table.history[1:]))
    assert accepted == {
        (("me", True), ("the other", False)),
        (("the other", True), ("me", False)),
        (("the other", True),),
    }


async def test_a_write_cancelled_on_its_way_may_arrive_and_one_cancelled_on_the_way_back_has() -> None:
    arrived = {0.2: 0, 0.7: 0}
    for seed in range(20):
        for moment in arrived:
            table = await table_with(A, seed=seed)
            with anyio.move_on_after(moment):
                await table.store("me", plan()).update([Row(key=A, counter=2)])
            await anyio.sleep(20)
            arrived[moment] += table.rows[A].counter == 2
    assert 0 < arrived[0.2] < 20
    assert arrived[0.7] == 20


async def test_a_throttled_call_may_have_written_some_of_its_rows() -> None:
    table = await table_with(*(keys := [RowKey(f"clicks/stream/{number}") for number in range(20)]))
    with pytest.raises(Throttled):
        await table.store("me", plan(Fault.THROTTLED)).update([Row(key=key, counter=2) for key in keys])
    assert 0 < sum(row.counter == 2 for row in table.rows.values()) < 20
    throttled = table.store("me", plan(*[Fault.THROTTLED] * 20))
    before = table.rows
    for key in keys:
        with pytest.raises(Throttled):
            await throttled.update([replace(before[key], counter=before[key].counter + 1)])
    assert table.rows == before, "a call with one row has written it or is throttled"


async def test_one_worker_is_cut_off_while_the_others_go_on() -> None:
    table = await table_with(A)
    begin = anyio.current_time()
    cut_off = table.store("me", FaultPlan(outages=[Outage(begin, begin + 10, Fault.UNREACHABLE)]))
    with pytest.raises(Unreachable) as error:
        await cut_off.update([Row(key=A, counter=2)])
    assert not error.value.was_sent
    assert await table.store("the other").update([Row(key=A, counter=2)]) == frozenset()
    await anyio.sleep(10)
    assert await cut_off.update([Row(key=A, counter=2)]) == {A}


async def test_a_worker_waits_for_a_lost_answer_as_long_as_its_patience_lasts() -> None:
    table = await table_with(A)
    for seed in range(20):
        faults = FaultPlan(seed=seed)
        faults.script("read", Fault.ANSWER_LOST)
        sent_at = anyio.current_time()
        with pytest.raises(Unreachable):
            await table.store("me", faults, patience_in_seconds=3.0).read([A])
        assert 0 < anyio.current_time() - sent_at <= 3.0


async def test_a_scan_returns_each_row_as_it_was_at_a_moment_of_its_own_and_a_read_is_up_to_date() -> None:
    table = await table_with(A, B, staleness_in_seconds=3.0)
    store = table.store("me")
    seen = set()
    for counter in range(2, 60):
        await anyio.sleep(1)
        await store.update([Row(key=A, counter=counter), Row(key=B, counter=counter)])
        scanned = counters(await store.scan())
        oldest = max(counter - 3, 1)
        assert all(oldest <= value <= counter for value in scanned.values())
        assert counters((await store.read([A, B])).values()) == {A: counter, B: counter}
        if counter > 4:
            seen.add(scanned[A] - scanned[B])
    assert min(seen) < 0 < max(seen)
    await anyio.sleep(4)
    assert counters(await store.scan()) == {A: 59, B: 59}


async def test_a_stale_scan_may_return_a_deleted_row_and_lack_a_new_one() -> None:
    table = await table_with(A, staleness_in_seconds=3.0)
    store = table.store("me")
    await anyio.sleep(10)
    await store.delete([Row(key=A)])
    await store.create([Row(key=B)])
    await anyio.sleep(1)
    seen = {tuple(sorted(counters(await store.scan()))) for _ in range(50)}
    assert seen == {(), (A,), (A, B), (B,)}
    await anyio.sleep(3)
    assert counters(await store.scan()) == {B: 1}


async def test_the_calls_of_each_worker_are_counted() -> None:
    table = await table_with(A)
    await table.store("me").scan()
    await table.store("me").update([Row(key=A, counter=2)])
    await table.store("the other").scan()
    assert table.calls == {("first", "create"): 1, ("me", "scan"): 1, ("me", "update"): 1, ("the other", "scan"): 1}


async def test_the_same_seed_makes_the_same_history() -> None:
    histories = []
    for seed in (1, 1, 2):
        table = await table_with(A, B, seed=seed, staleness_in_seconds=3.0)
        begin = anyio.current_time()
        store = table.store("me", FaultPlan(seed=seed, lost_answer_rate=0.5, throttle_rate=0.2))
        for _ in range(30):
            try:
                await store.update([replace(row, counter=row.counter + 1) for row in await store.scan()])
            except (Throttled, Unreachable):
                await anyio.sleep(1)
        histories.append([write._replace(sent_at=0, at=round(write.at - begin, 6)) for write in table.history])
    assert histories[0] == histories[1] != histories[2]
