"""How do readers share the records in hand of a shard?"""

from __future__ import annotations

import anyio
import pytest

from poller.core.leases.holding import Held
from poller.engine.leases.lease import Lease
from poller.engine.leases.rate import Rate
from poller.engine.stop import Stop
from poller.engine.streams.budget import Budget
from poller.engine.streams.in_hand import LaneInHand, ShardInHand
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, StreamRecord, TrimHorizon
from tests.fakes.clock import SteadyClock, VirtualClock

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def records(*names: str) -> list[StreamRecord]:
    return [StreamRecord(SequenceNumber(name), "key", 0.0, b"ten bytes!") for name in names]


def shard_with(*names: str) -> ShardInHand:
    """Return a shard with two lanes. The first one has these records pending; no reader uses them."""
    row = Row(key=RowKey("m/stream/shard"), checkpoint=Checkpoint(TrimHorizon()))
    lease = Lease(Held(row, Owner("me")), rate=Rate(row, 0.0), clock=SteadyClock(), hurry=lambda: None)
    shard = ShardInHand(lease, lanes=2, has_windows=False, budget=Budget(1000), clock=VirtualClock())
    shard.watermark.hand_out([SequenceNumber(name) for name in names])
    shard.lanes[0].pending.extend(records(*names))
    return shard


async def test_the_bytes_of_the_records_count_as_long_as_any_reader_uses_them() -> None:
    shard = shard_with("1", "2", "3")
    with shard.used():
        assert shard.budget.used == 30
        with shard.used():
            assert shard.budget.used == 30, "they are the same records"
        assert shard.budget.used == 30
    assert shard.budget.used == 0
    with shard.used():  # the next reader has come after the old one has left
        shard.finish(records("1"), None)
        assert shard.budget.used == 20


async def test_the_checkpoint_passes_only_finished_records_of_all_readers() -> None:
    shard = shard_with("1", "2", "3")
    with shard.used():
        shard.finish(records("2"), None)
        assert shard.lease.checkpoint == Checkpoint(TrimHorizon())
        shard.finish(records("1"), None)
        assert shard.lease.checkpoint == Checkpoint(AfterSequence(SequenceNumber("2")))


async def test_records_that_are_not_kept_are_done() -> None:
    shard = shard_with("1", "2", "3")
    with shard.used():
        assert shard.drop(shard.lanes[0], lambda record: record.sequence_number == "2") == 2
        assert list(shard.lanes[0].pending) == records("2")
        assert (shard.budget.used, shard.watermark.in_hand) == (10, 1)
        assert shard.drop(shard.lanes[0], lambda _: True) == 0


async def test_after_a_turn_the_records_that_are_not_done_are_pending_again_in_order() -> None:
    lane = LaneInHand()
    lane.pending.extend(records("3", "4"))
    async with lane.turn(Stop()) as has_turn:
        assert has_turn
        lane.begin_batch().extend(records("1", "2"))
        lane.done(1)
        assert (lane.oldest, lane.records_in_hand) == (records("2")[0], 3)
    assert list(lane.pending) == records("2", "3", "4")
    assert (lane.oldest, lane.records_in_hand) == (records("2")[0], 3)


async def test_one_lane_at_a_time_has_the_turn_and_a_stop_ends_the_wait() -> None:
    lane, stop, turns = LaneInHand(), Stop(), list[bool]()

    async def wait() -> None:
        async with lane.turn(stop) as has_turn:
            turns.append(has_turn)

    async with anyio.create_task_group() as group:
        async with lane.turn(Stop()):
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert turns == []
            stop.begin()
            await anyio.wait_all_tasks_blocked()
            assert turns == [False]
        stop = Stop()
        await wait()
    assert turns == [False, True]


async def test_a_turn_begins_after_the_timeout_of_a_cancelled_invocation() -> None:
    lane, stop = LaneInHand(), Stop()
    lane.may_run_until = anyio.current_time() + 1e6
    turns = list[bool]()

    async def wait() -> None:
        async with lane.turn(stop) as has_turn:
            turns.append(has_turn)

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert turns == []
        stop.begin()
    assert turns == [False]
