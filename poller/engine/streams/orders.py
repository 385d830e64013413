"""How does a person's order reach the lane that it concerns?

    supervisor ── mapping ── shard ──> the blocked lane whose batch has the sequence numbers that the person has seen

The lane executes the order as its next step, and waits no longer. If the function is invoked with the batch at this
moment, the answer comes first.
"""

from __future__ import annotations

from collections.abc import Sequence

from poller.engine.streams.lane import Lane
from poller.errors import CannotChange
from poller.model.order import ShardOrder
from poller.model.status import BlockedShard


def carry_out(order: ShardOrder, lanes: Sequence[Lane]) -> BlockedShard:
    """Execute the order, and return the block of the lane as it was before.

    Raises CannotChange if no lane of the shard is blocked by this batch, or if the order does not fit the batch.
    """
    lane = next((lane for lane in lanes if lane.is_blocked_by(order.ends)), None)
    if lane is None:
        if all(lane.blocked is None for lane in lanes):
            raise CannotChange(f"the shard {order.shard_id} is not blocked")
        raise CannotChange(
            f"other records block the shard {order.shard_id} now; see `poller status`, and ask again for them"
        )
    before = lane.blocked
    assert before is not None, "the lane is blocked"
    if (denial := lane.order(order.action)) is not None:
        raise CannotChange(f"the shard {order.shard_id}: {denial}")
    return before
