"""In which order does a worker create rows, and what does it do with rows that exist?"""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.boot_clock import BootClock
from poller.engine.leases.worker import Worker
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, TrimHorizon
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.lease_store import FakeLeaseTable

pytestmark = pytest.mark.anyio

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
PARENT, CHILD, GRANDCHILD = (RowKey(f"clicks/{STREAM}/{number}") for number in range(3))
BEGUN = RowKey(f":begun/clicks/{STREAM}")
OLDEST, LATER = Checkpoint(TrimHorizon()), Checkpoint(AfterSequence(SequenceNumber("7")))
NEW = [[Row(key=key, checkpoint=OLDEST)] for key in (PARENT, CHILD, GRANDCHILD)] + [[Row(key=BEGUN)]]


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def worker_of(table: FakeLeaseTable, plan: FaultPlan | None = None) -> Worker:
    return Worker(
        Owner(f"blue-1/{'0' * 32}"),
        store=table.store("me", plan),
        clock=BootClock(anyio.current_time),
        randomness=random.Random(0),
        emit=lambda _: None,
    )


def writes(table: FakeLeaseTable) -> list[tuple[str, RowKey]]:
    """Return what the worker has written, in order, without writes that the table has rejected."""
    return [(write.operation, write.row.key) for write in table.history if write.worker == "me" and write.is_accepted]


async def test_groups_of_new_rows_are_created_in_order_and_returned() -> None:
    table = FakeLeaseTable()
    assert await worker_of(table).create(*NEW) == {row.key: row for [row] in NEW}
    assert writes(table) == [("create", row.key) for [row] in NEW]


async def test_no_groups_need_no_call() -> None:
    table = FakeLeaseTable()
    assert await worker_of(table).create() == {}
    assert not table.calls


async def test_the_groups_after_a_row_that_exists_are_created_too_and_the_row_is_returned_as_it_is() -> None:
    table = FakeLeaseTable()
    for key in (PARENT, GRANDCHILD):
        table.write("another", "create", Row(key=key, checkpoint=LATER), sent_at=0)
    found = await worker_of(table).create(*NEW)
    assert {key: row.checkpoint for key, row in found.items()} == {
        PARENT: LATER,
        CHILD: OLDEST,
        GRANDCHILD: LATER,
        BEGUN: None,
    }
    assert writes(table) == [("create", CHILD), ("create", BEGUN)]


async def test_a_row_that_a_person_has_reset_gets_its_checkpoint_before_the_next_group_is_created() -> None:
    """Otherwise, after a crash in between, the next start would begin the shard at its oldest record."""
    table = FakeLeaseTable()
    for key in (CHILD, GRANDCHILD):
        table.write("a person", "create", Row(key=key), sent_at=0)
    found = await worker_of(table).create(*NEW)
    assert {row.checkpoint for key, row in found.items() if key != BEGUN} == {OLDEST}
    assert writes(table) == [("create", PARENT), ("update", CHILD), ("update", GRANDCHILD), ("create", BEGUN)]


async def test_each_group_may_take_as_long_as_a_call() -> None:
    await worker_of(FakeLeaseTable(), FaultPlan(latency_in_seconds=(1.4, 1.4))).create(*NEW)
    assert anyio.current_time() == pytest.approx(len(NEW) * 2 * 1.4), "no call was repeated"


async def test_after_a_failed_call_the_rest_is_created_in_the_same_order() -> None:
    for fault in (Fault.THROTTLED, Fault.UNREACHABLE, Fault.ANSWER_LOST):
        table, plan = FakeLeaseTable(), FaultPlan()
        plan.script("create", Fault.NONE, fault)
        assert (await worker_of(table, plan).create(*NEW)).keys() == {row.key for [row] in NEW}
        assert writes(table) == [("create", row.key) for [row] in NEW]
