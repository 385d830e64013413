"""Does the worker tell what each of its scans has found?"""

from __future__ import annotations

import random
from collections.abc import Collection
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.boot_clock import BootClock
from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.engine.leases.worker import Worker
from poller.facts import Fact
from poller.model.lease import Owner, Row, RowKey
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
