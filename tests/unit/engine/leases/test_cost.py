"""What does a worker ask of the table? It tells what each scan has found, and writes a lease once for each renewal."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection
from itertools import count
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.boot_clock import BootClock
from poller.composition.worker import SAVE_IN_A_TABLE_EVERY_SECONDS
from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, RENEWALS_PER_DURATION
from poller.engine.leases.worker import Worker
from poller.facts import Fact
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, TrimHorizon
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.lease_store import FakeLeaseTable

pytestmark = pytest.mark.anyio

PAUSE = Row(key=RowKey(":pause/clicks"))


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def test_each_scan_that_succeeds_is_told_and_a_pause_is_seen_within_a_lease_duration() -> None:
    told: list[tuple[float, bool]] = []

    def scanned(rows: Collection[Row]) -> None:
        told.append((anyio.current_time() - began, PAUSE in rows))

    table, plan, facts = FakeLeaseTable(), FaultPlan(), list[Fact]()
    plan.script("scan", Fault.NONE, Fault.UNREACHABLE)
    worker = Worker(
        Owner(f"blue-1/{'0' * 32}"),
        store=table.store("me", plan),
        clock=BootClock(anyio.current_time),
        randomness=random.Random(0),
        emit=facts.append,
        scanned=scanned,
    )
    began = anyio.current_time()
    async with worker.running():
        await anyio.sleep(LEASE_DURATION_IN_SECONDS / 2)
        await table.store("another").create([PAUSE])
        await anyio.sleep(2 * LEASE_DURATION_IN_SECONDS)
        seen = list(told)
    (first, before), (second, after), *_ = seen
    assert (first, before, after) == (0, False, True)
    assert LEASE_DURATION_IN_SECONDS < second < LEASE_DURATION_IN_SECONDS + 1, "the scan that failed is repeated"


async def test_in_a_table_a_busy_shard_costs_one_write_for_each_renewal_and_one_scan_for_each_lease_duration() -> None:
    table = FakeLeaseTable()
    worker = Worker(
        Owner(f"blue-1/{'0' * 32}"),
        store=table.store("me"),
        clock=BootClock(anyio.current_time),
        randomness=random.Random(0),
        emit=lambda _: None,
        save_every_seconds=SAVE_IN_A_TABLE_EVERY_SECONDS,
        save_windows_every_seconds=SAVE_IN_A_TABLE_EVERY_SECONDS,
    )
    keys = [RowKey(f"clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/{number}") for number in range(5)]

    async def read(key: RowKey) -> None:
        await worker.create([Row(key=key, checkpoint=Checkpoint(TrimHorizon()))])
        async with worker.lease(key) as lease:
            assert lease is not None
            for number in count(1):
                lease.save(Checkpoint(AfterSequence(SequenceNumber(str(number)))), at=0.0)
                await anyio.sleep(0.37)

    async with worker.running(), anyio.create_task_group() as readers:
        for key in keys:
            readers.start_soon(read, key)
        await anyio.sleep(LEASE_DURATION_IN_SECONDS)
        before, scans = Counter(write.row.key for write in table.history), table.calls["me", "scan"]
        await anyio.sleep(10 * LEASE_DURATION_IN_SECONDS)
        after = Counter(write.row.key for write in table.history)
        assert table.calls["me", "scan"] - scans <= 10
        readers.cancel_scope.cancel()
    assert [after[key] - before[key] for key in keys] == pytest.approx([10 * RENEWALS_PER_DURATION] * 5, abs=1)
