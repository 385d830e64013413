"""What happens to a lease that two users of a worker share, while invocations of the first one still run?"""

from __future__ import annotations

import random
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.boot_clock import BootClock
from poller.engine.leases.worker import Worker
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import Checkpoint, ShardEnd, TrimHorizon
from tests.fakes.lease_store import FakeLeaseTable

pytestmark = pytest.mark.anyio

KEY = RowKey("clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/shardId-000000000000")


class Left:
    lane_count = 2


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def test_each_user_learns_that_the_last_checkpoint_is_stored() -> None:
    worker = Worker(
        Owner(f"blue-1/{'0' * 32}"),
        store=FakeLeaseTable().store("me"),
        clock=BootClock(anyio.current_time),
        randomness=random.Random(0),
        emit=lambda _: None,
    )
    async with worker.running():
        await worker.create([Row(key=KEY, checkpoint=Checkpoint(TrimHorizon()))])
        async with worker.lease(KEY, lanes=2) as old:
            assert old is not None
            old.leave_behind(Left())
            async with worker.lease(KEY, lanes=2) as new:
                assert new is not None
                old.save(Checkpoint(ShardEnd()), at=0.0)
                with anyio.fail_after(5):
                    assert await old.stored()
                    assert await new.stored()
