"""Which orders about blocked shards does a person give while the daemon runs? A seed draws them.

The person looks at the status again and again, and orders something that it allows: a retry, a bisection, or a discard
if the mapping waits for its destination. Without such a destination, nobody could see from outside that the records
are done.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import anyio

from poller.errors import CannotChange
from poller.model.ids import MappingName
from poller.model.mapping import StreamMapping
from poller.model.order import ShardOrder
from tests.simulation.life import Life
from tests.simulation.world import World


class Orders:
    """The orders in one world, until the time `end_at`."""

    def __init__(self, world: World, *, seed: int, end_at: float) -> None:
        self._world = world
        self._randomness = Random(seed)
        self._end_at = end_at
        self._interval = self._randomness.choice([0.1, 0.5, 2.0])
        self.given = 0

    async def make(self, life: Life) -> None:
        """Give orders in this life, until the orders must end."""
        self._world.has_orders = True
        await life.has_begun.wait()
        while anyio.current_time() < self._end_at:
            await anyio.sleep(self._randomness.uniform(0, 2 * self._interval))
            if choices := list(self._choices(life)):
                self._give(life, *self._randomness.choice(choices))

    def _choices(self, life: Life) -> Iterator[tuple[MappingName, ShardOrder]]:
        waits = {mapping.name for mapping in self._world.stream_mappings if _waits_for_destination(mapping)}
        for status in life.supervisor.statuses():
            for shard in () if status.stream is None else status.stream.blocked:
                for action in shard.actions:
                    if action != "discard" or status.mapping in waits:
                        yield status.mapping, ShardOrder(action, shard.shard_id, *shard.ends)

    def _give(self, life: Life, mapping: MappingName, order: ShardOrder) -> None:
        try:
            life.supervisor.order(mapping, order)
        except CannotChange:  # the batch has changed, for example by a bisection
            return
        self.given += 1
        if order.action == "discard":
            self._world.discards_ordered.add(order.ends)


def _waits_for_destination(mapping: StreamMapping) -> bool:
    return mapping.on_failure is not None and mapping.on_failure.if_unreachable == "wait"
