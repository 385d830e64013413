"""Does a table that fails close, so that the worker sees no failure, and open again when it answers?"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.errors import AccessDenied, NotFound, PollerError, ServiceError, Throttled, Unreachable
from poller.model.lease import Row, RowKey
from poller.stores.guarded_leases import (
    CALL_LIMIT_IN_SECONDS,
    PAUSE_IN_SECONDS,
    SCAN_LIMIT_IN_SECONDS,
    UPDATES_MAY_FAIL_FOR_SECONDS,
    GuardedLeaseStore,
)
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.lease_store import FakeLeaseTable

pytestmark = pytest.mark.anyio

A, B, C = (RowKey(f"clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/shard-{name}") for name in "abc")


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class Guarded:
    """A guarded table with the row A. `failures` has the errors that have closed it."""

    def __init__(self) -> None:
        self.table = FakeLeaseTable()
        self.plan = FaultPlan()
        self.failures: list[PollerError] = []
        self.store = GuardedLeaseStore(self.table.store("me", self.plan), failed=self.failures.append)
        self.table.write("me", "create", Row(key=A), sent_at=0)

    @property
    def counter(self) -> int:
        return self.table.rows[A].counter

    async def open(self) -> None:
        assert [row.key for row in await self.store.scan()] == [A]

    async def update(self) -> bool:
        """Return whether the table has accepted the next counter."""
        return not await self.store.update([Row(key=A, counter=self.counter + 1)])

    async def is_closed(self) -> bool:
        calls = dict(self.table.calls)
        seen = [await self.store.scan(), await self.store.read([A]), await self.store.update([Row(key=A, counter=2)])]
        seen.append(await self.store.delete([Row(key=A)]))
        return seen == [[], {}, {A}, {A}] and self.table.calls == calls


async def test_a_table_that_does_not_fail_is_used_as_if_there_were_no_guard() -> None:
    guarded = Guarded()
    await guarded.open()
    assert await guarded.store.create([Row(key=A), Row(key=B)]) == {A}
    assert await guarded.store.update([Row(key=A, counter=2), Row(key=B, counter=9)]) == {B}
    assert (await guarded.store.read([A, B])).keys() == {A, B}
    assert await guarded.store.delete([Row(key=A, counter=1), Row(key=B, counter=1)]) == {A}
    assert guarded.failures == []


@pytest.mark.parametrize("operation", ["scan", "read", "delete"])
@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.THROTTLED, Throttled), (Fault.UNREACHABLE, Unreachable), (Fault.ACCESS_DENIED, AccessDenied)],
)
async def test_a_call_that_fails_closes_the_table_and_tells_the_run_once(
    operation: str, fault: Fault, error: type[ServiceError]
) -> None:
    guarded = Guarded()
    await guarded.open()
    guarded.plan.script(operation, fault)
    match operation:
        case "scan":
            assert await guarded.store.scan() == []
        case "read":
            assert await guarded.store.read([A]) == {}
        case _:
            assert await guarded.store.delete([Row(key=A)]) == {A}
    assert list(map(type, guarded.failures)) == [error]
    assert await guarded.is_closed()
    assert len(guarded.failures) == 1


async def test_calls_that_fail_together_tell_the_run_once() -> None:
    guarded = Guarded()
    await guarded.open()
    guarded.plan.script("read", Fault.THROTTLED, Fault.THROTTLED)
    guarded.plan.latency_in_seconds = (1.0, 1.0)
    async with anyio.create_task_group() as calls:
        for _ in range(2):
            calls.start_soon(guarded.store.read, [A])
    assert len(guarded.failures) == 1


async def test_each_group_of_new_rows_may_take_as_long_as_a_call() -> None:
    guarded = Guarded()
    await guarded.open()
    guarded.plan.latency_in_seconds = (0.9, 0.9)
    with anyio.fail_after(100):
        assert await guarded.store.create([Row(key=B)], [Row(key=C)]) == frozenset()
    assert guarded.failures == []


async def test_rows_that_could_not_be_created_are_not_reported_as_created() -> None:
    guarded = Guarded()
    await guarded.open()
    guarded.plan.script("create", Fault.THROTTLED)
    for _ in range(2):
        with anyio.move_on_after(100) as waiting:
            await guarded.store.create([Row(key=B)])
        assert waiting.cancelled_caught
    assert len(guarded.failures) == 1
    assert guarded.table.rows.keys() == {A}


async def test_an_update_that_may_not_be_made_closes_the_table_at_once() -> None:
    guarded = Guarded()
    await guarded.open()
    guarded.plan.script("update", Fault.NOT_FOUND)
    assert not await guarded.update()
    assert list(map(type, guarded.failures)) == [NotFound]
    assert await guarded.is_closed()


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.UNREACHABLE])
async def test_updates_that_fail_for_a_moment_do_not_close_the_table(fault: Fault) -> None:
    guarded = Guarded()
    await guarded.open()
    for _ in range(100):
        guarded.plan.script("update", fault)
        assert not await guarded.update()
        assert (await guarded.store.read([A]))[A].counter == guarded.counter, "the worker can read the row"
        assert await guarded.update()
    assert guarded.failures == []


async def test_updates_that_fail_for_long_close_the_table() -> None:
    guarded = Guarded()
    await guarded.open()
    assert await guarded.update()
    guarded.plan.script("update", *[Fault.THROTTLED] * 1_000)
    began = anyio.current_time()
    while not guarded.failures:
        assert not await guarded.update()
    assert UPDATES_MAY_FAIL_FOR_SECONDS <= anyio.current_time() - began <= UPDATES_MAY_FAIL_FOR_SECONDS + 1
    assert await guarded.is_closed()
    guarded.store.use_again(failed=guarded.failures.append)
    await guarded.open()
    assert not await guarded.update()
    assert len(guarded.failures) == 1, "the seconds are counted anew"


async def test_a_table_without_an_answer_keeps_the_worker_for_a_moment_only() -> None:
    for operation, limit in (("scan", SCAN_LIMIT_IN_SECONDS), ("read", CALL_LIMIT_IN_SECONDS), ("update", 2.2)):
        guarded = Guarded()
        await guarded.open()
        guarded.plan.latency_in_seconds = (60.0, 60.0)
        began = anyio.current_time()
        match operation:
            case "scan":
                assert await guarded.store.scan() == []
            case "read":
                assert await guarded.store.read([A]) == {}
            case _:
                assert not await guarded.update()
        assert anyio.current_time() - began == pytest.approx(limit)
        assert len(guarded.failures) == (operation != "update")


async def test_a_table_that_answers_again_accepts_updates_only_after_the_worker_has_scanned_it() -> None:
    """The worker may have taken the silence of the closed table for the absence of a parent shard's row."""
    guarded, later = Guarded(), list[PollerError]()
    assert not await guarded.update(), "a new table, too"
    await guarded.open()
    guarded.plan.script("read", Fault.ACCESS_DENIED)
    assert await guarded.store.read([A]) == {}
    guarded.store.use_again(failed=later.append)
    assert not await guarded.update()
    assert guarded.counter == 1
    assert (await guarded.store.read([A])).keys() == {A}
    await guarded.open()
    assert await guarded.update()
    guarded.plan.script("read", Fault.ACCESS_DENIED)
    assert await guarded.store.read([A]) == {}
    assert (len(guarded.failures), len(later)) == (1, 1)


async def test_a_scan_that_ends_after_the_table_was_closed_does_not_open_it() -> None:
    guarded, scanned = Guarded(), list[Row]()
    await guarded.open()
    guarded.plan.script("read", Fault.ACCESS_DENIED)
    guarded.plan.latency_in_seconds = (1.0, 1.0)

    async def scan() -> None:
        scanned.extend(await guarded.store.scan())

    async with anyio.create_task_group() as calls:
        calls.start_soon(guarded.store.read, [A])
        await anyio.sleep(0.5)
        calls.start_soon(scan)
    assert (len(guarded.failures), scanned) == (1, [])
    assert await guarded.is_closed()


async def test_a_worker_that_writes_again_at_once_pauses_until_it_has_scanned_the_table() -> None:
    """It still holds a lease of the table, so it reads the row and writes it again and again (R6)."""
    guarded = Guarded()
    began = anyio.current_time()
    for _ in range(10):
        assert not await guarded.update()
    assert anyio.current_time() - began == pytest.approx(10 * PAUSE_IN_SECONDS)


async def test_the_next_run_of_a_mapping_does_not_disturb_an_open_table() -> None:
    guarded, later = Guarded(), list[PollerError]()
    await guarded.open()
    guarded.store.use_again(failed=later.append)
    assert await guarded.update()
