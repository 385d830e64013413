"""Which worker may run how many invocations at once, if all workers share the limit?

Two options are such limits: the `reserved_concurrency` of a function, and the `maximum_concurrency` of a mapping.
A limit of N has N units, which are leases without a checkpoint: `:unit/LIMIT/0` to `:unit/LIMIT/N-1`. LIMIT is the name
of the function, or `:mapping/` and the name of the mapping. A worker runs at most one invocation for each unit that it
holds, so the workers together never exceed the limit. A unit is given away only while no invocation uses it.

    N units, W workers    each worker has N / W units, rounded up or down. If N is less than W, N workers have one unit
    place                 a unit is placed with the worker that has the fewest units of this limit, and among those
                          with the worker that has the fewest units of all limits. So fifty functions with one unit
                          each use all workers
    move                  a unit moves if the giver has at least two more units of the limit than the receiver. With
                          one more, it moves if the giver also has at least two more units of all limits together
    need                  a worker without a unit gets one if an invocation waits there that no other worker can run.
                          Of several such workers, the one whose invocation has waited longest gets the unit
    no unit (R10)         a worker without a unit of the function takes no lease of the function's mappings, and gives
                          those that it holds to workers with a unit

So with one unit and three workers, one worker reads all shards of the function's mappings. If it dies, its unit and its
shards expire together; the worker that takes the unit takes the shards, too.
The worker that gives its last unit away gives the shards away after it, so that their receiver has the unit by then.
If a limit becomes smaller, the units beyond it are deleted once they have no owner. Otherwise they would keep places at
workers that do not want them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from copy import copy
from typing import NewType

from poller.core.leases.expiry import Observed
from poller.core.leases.placement import MOVES_AT_ONCE, Move, Placement
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner, Row, RowKey

_PREFIX = ":unit/"

LimitName = NewType("LimitName", str)
"""The name of a limit that all workers share. No function has the same name as the limit of a mapping."""


def limit_of_function(function: FunctionName) -> LimitName:
    return LimitName(function)


def limit_of_mapping(mapping: MappingName) -> LimitName:
    return LimitName(f":mapping/{mapping}")


def unit_key(limit: LimitName, number: int) -> RowKey:
    return RowKey(f"{_PREFIX}{limit}/{number}")


def is_unit(key: str) -> bool:
    """Return whether the text is the key of a unit, or the beginning of such a key."""
    return key.startswith(_PREFIX)


def limit_of(key: RowKey) -> LimitName:
    """Return the limit to which a unit belongs."""
    return LimitName(key.removeprefix(_PREFIX).rpartition("/")[0])


def beyond_limits(rows: Iterable[Row], limits: Mapping[LimitName, int]) -> list[Row]:
    """Return the units without an owner that no worker needs, because their limit is smaller by now.

    `limits` has the number of units of each limit.
    """
    kept = {unit_key(limit, number) for limit, count in limits.items() for number in range(count)}
    return [
        row
        for row in rows
        if is_unit(row.key) and row.owner is None and limit_of(row.key) in limits and row.key not in kept
    ]


class Units(Placement):
    """The places of the units of all limits.

    `functions` has the function of each mapping whose function has a limit.
    `moving` has the units that this worker is giving to others.
    """

    def __init__(
        self,
        observed: Observed,
        *,
        functions: Mapping[MappingName, FunctionName],
        moving: Mapping[RowKey, Owner] | None = None,
        is_stopping: bool = False,
    ) -> None:
        super().__init__(observed, is_stopping=is_stopping)
        self._functions = functions
        self._of_limit: Counter[tuple[LimitName, Owner]] = Counter()
        self._at_all: Counter[Owner] = Counter()
        self._neediest = _neediest(observed, self.workers)
        without_place = []
        for row in observed.leases():
            if is_unit(row.key):
                holder = (moving or {}).get(row.key, row.owner)
                if holder in self.workers:
                    self.move(row.key, holder)
                else:
                    without_place.append(row.key)
        for key in sorted(without_place):
            if (receiver := self.best(key, self.workers)) is not None:
                self.move(key, receiver)

    def receivers(self, key: RowKey, workers: tuple[Owner, ...]) -> tuple[Owner, ...]:
        """Return the workers that may have the lease of a shard: a unit of the function has its place at each (R10)."""
        function = self._functions.get(_mapping_of(key))
        if function is None:
            return workers
        limit = limit_of_function(function)
        return tuple(each for each in workers if self._of_limit[limit, each])

    def without_unit(self, held: Collection[RowKey]) -> list[RowKey]:
        """Return the leases of shards that this worker has to give away: it holds no unit of their function (R10)."""
        usable = {limit_of(key) for key in held if is_unit(key)}
        functions = {key: self._functions.get(_mapping_of(key)) for key in held}
        return [key for key, name in functions.items() if name is not None and limit_of_function(name) not in usable]

    def planned(self) -> list[Move]:
        """Return the moves that give every worker its part of the units, at most MOVES_AT_ONCE from each worker."""
        plan = copy(self)
        plan.places, plan._of_limit, plan._at_all = dict(self.places), self._of_limit.copy(), self._at_all.copy()
        moves: list[Move] = []
        given: Counter[Owner] = Counter()
        for key, giver in sorted(self.places.items()):
            receiver = plan._next_receiver(key)
            if receiver is not None and given[giver] < MOVES_AT_ONCE and plan.may_move(key, receiver):
                moves.append(Move(key, giver, receiver))
                plan.move(key, receiver)
                given[giver] += 1
        return moves

    def may_move(self, key: RowKey, receiver: Owner) -> bool:
        """Return whether the worker has so few units that it should get this one."""
        limit, giver = limit_of(key), self.places[key]
        more = self._of_limit[limit, giver] - self._of_limit[limit, receiver]
        more_at_all = self._at_all[giver] - self._at_all[receiver]
        is_needed = self._neediest.get(limit) == receiver and not self._of_limit[limit, receiver]
        return receiver in self.workers and (more >= 2 or (more == 1 and (more_at_all >= 2 or is_needed)))

    def move(self, key: RowKey, receiver: Owner) -> None:
        """Change the place of a unit."""
        limit = limit_of(key)
        if key in self.places:
            self._of_limit[limit, self.places[key]] -= 1
            self._at_all[self.places[key]] -= 1
        self.places[key] = receiver
        self._of_limit[limit, receiver] += 1
        self._at_all[receiver] += 1

    def best(self, key: RowKey, workers: Collection[Owner]) -> Owner | None:
        """Return the one of these workers that should get the unit next, or None if there is no worker."""
        limit = limit_of(key)
        ranks = [(self._of_limit[limit, each], self._at_all[each], each) for each in workers]
        return min(ranks)[2] if ranks else None

    def _next_receiver(self, key: RowKey) -> Owner | None:
        limit = limit_of(key)
        neediest = self._neediest.get(limit)
        if neediest is not None and not self._of_limit[limit, neediest]:
            return neediest
        return self.best(key, self.workers)


def _mapping_of(key: RowKey) -> MappingName:
    """Return the name of the mapping to which a shard's lease belongs.

    For any other row, return a text that is not the name of a mapping.
    """
    return MappingName(key.partition("/")[0])


def _neediest(observed: Observed, workers: Collection[Owner]) -> dict[LimitName, Owner]:
    """Return the worker at which an invocation has waited longest for a unit, for each limit."""
    found: dict[LimitName, tuple[float, Owner]] = {}
    for owner in workers:
        row = observed.get(RowKey(f":worker/{owner}"))
        missing = None if row is None else row.details.get("missing")
        for limit, seconds in missing.items() if isinstance(missing, dict) else ():
            if isinstance(seconds, int | float):
                found[LimitName(limit)] = max(found.get(LimitName(limit), (0.0, owner)), (seconds, owner))
    return {limit: owner for limit, (_, owner) in found.items()}
