"""Which leases should this worker take, which should it ask for, and where do its own leases belong?

The plan is made anew after each scan, and when users want a lease that the last plan does not know. If there is no
other worker, the lease is only added to the plan, because a new plan for each of thousands of leases would take long.
Shards are placed by `core/leases/balancing.py`, and units of concurrency by `core/leases/units.py`. A shard has its
place only at a worker that has a unit of its function.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from poller.core.leases.balancing import Balance
from poller.core.leases.expiry import Observed
from poller.core.leases.placement import Move, Placement
from poller.core.leases.units import Units, is_unit
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner, Row, RowKey


class Plan:
    """A plan. `functions` has the function of each mapping whose function has a limit that all workers share.

    `moving` has the leases in hand that other workers will get.
    """

    def __init__(
        self,
        observed: Observed,
        *,
        functions: Mapping[MappingName, FunctionName],
        moving: Mapping[RowKey, Owner],
        is_stopping: bool,
    ) -> None:
        self._units = Units(observed, functions=functions, moving=moving, is_stopping=is_stopping)
        self._shards = Balance(observed, moving=moving, receivers=self._units.receivers, is_stopping=is_stopping)

    def place(self, key: RowKey) -> Owner | None:
        """Return the worker that should have the lease, or None if there is no such worker.

        None is also returned if the plan does not know the lease.
        """
        return self._of(key).places.get(key)

    def place_elsewhere(self, key: RowKey) -> Owner | None:
        """Give a lease a place at another worker, because this one does not use it. Return the other, or None."""
        return None if self.place(key) is None else self._of(key).place_elsewhere(key)

    def add(self, rows: Collection[Row]) -> bool:
        """Give places to new leases of shards. Return False if this needs a new plan.

        If there are several workers, a new plan is always needed: the others have taken leases since then, and all
        plans must agree.
        """
        if len(self._shards.workers) > 1 or any(is_unit(row.key) or row.owner is not None for row in rows):
            return False
        self._shards.add(rows)
        return all(self.place(row.key) is not None for row in rows)

    def to_take(self, wanted: Mapping[RowKey, float], *, now: float, held: Collection[RowKey]) -> list[RowKey]:
        """Return the leases that this worker should take now. `wanted` has the times since which users want them."""
        return [
            key
            for kind in (self._units, self._shards)
            for key in kind.to_take({k: v for k, v in wanted.items() if self._of(k) is kind}, now=now, held=held)
        ]

    def to_request(self, prefixes: Collection[str]) -> list[Move]:
        """Return the moves for which this worker should ask the givers. It can use leases with these prefixes."""
        return [*self._units.to_request(prefixes), *self._shards.to_request(prefixes)]

    def to_grant(self, prefix: str, receiver: Owner) -> list[RowKey]:
        """Return the leases that should go to a worker that asks for leases with this prefix."""
        return self._of(prefix).to_grant(prefix, receiver)

    @property
    def workers(self) -> tuple[Owner, ...]:
        """Return the workers that may get leases: they were live when the plan was made, and do not stop."""
        return self._units.workers

    def knows(self, worker: Owner) -> bool:
        """Return whether the worker was live when the plan was made, and does not stop."""
        return worker in self._units.workers

    def without_unit(self, held: Collection[RowKey]) -> list[RowKey]:
        """Return the leases of shards in hand that this worker may not have, because it has no unit."""
        return self._units.without_unit(held)

    def _of(self, key: str) -> Placement:
        return self._units if is_unit(key) else self._shards
