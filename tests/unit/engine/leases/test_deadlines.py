"""When does a worker lose a lease that it cannot renew? At the deadline of this lease, also if its take was slow."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS
from poller.core.leases.holding import SAFE_PART, Held
from poller.engine.leases.deadlines import end_at_deadlines
from poller.engine.leases.hands import Hands
from poller.engine.leases.table import CALL_LIMIT_IN_SECONDS
from poller.facts import Fact
from poller.model.lease import Owner, Row, RowKey
from tests.fakes.clock import SteadyClock

pytestmark = pytest.mark.anyio

SAFE_IN_SECONDS = SAFE_PART * LEASE_DURATION_IN_SECONDS
FIRST, SECOND = RowKey("clicks/stream/shard-1"), RowKey("clicks/stream/shard-2")


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def take(hands: Hands, key: RowKey, *, sent_at: float) -> None:
    held = Held(Row(key=key), Owner("me"))
    held.take(sent_at)
    held.accepted(SteadyClock().now())
    hands.took(held)


@pytest.mark.parametrize(
    ("taken_after", "answered_after"),
    [(0.0, 0.0), (3.0, 0.0), (0.5, CALL_LIMIT_IN_SECONDS - 0.1)],
    ids=["together", "later", "later, with a slow answer"],
)
async def test_each_lease_is_lost_at_its_own_deadline(taken_after: float, answered_after: float) -> None:
    clock, facts = SteadyClock(), list[Fact]()
    hands, began = Hands(clock), clock.now()
    lost_at: dict[RowKey, float] = {}
    async with anyio.create_task_group() as tasks:
        take(hands, FIRST, sent_at=began)
        tasks.start_soon(end_at_deadlines, hands, clock, facts.append)
        await anyio.sleep(taken_after)
        take(hands, SECOND, sent_at=clock.now() - answered_after)
        while hands.in_hand:
            await anyio.sleep(0.05)
            lost_at |= {key: clock.now() - began for key in hands.lost if key not in lost_at}
        tasks.cancel_scope.cancel()
    expected = {FIRST: SAFE_IN_SECONDS, SECOND: taken_after - answered_after + SAFE_IN_SECONDS}
    assert lost_at == pytest.approx(expected, abs=0.1)
