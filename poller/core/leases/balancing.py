"""How are the shards distributed over the workers? By the bytes that each worker reads.

    load    the bytes per second of a shard, dampened, and a fixed amount, because an idle shard is polled, too
    place   the shard with the greatest load is placed first. Each shard is placed with the worker that has the smallest
            load so far
    move    a lease moves from the worker with the greatest load to the one with the smallest load. The lease whose load
            is nearest to half of the difference moves first

A lease moves only if the loads of the two workers differ by more than THRESHOLD of the greater one, and if its own load
is at most LARGEST_PART of the difference. So each move makes the difference smaller, and the same lease never moves
back while the loads stay about the same.
A lease whose shard has been read to its end does not move. A lease that is being moved counts as the receiver's.

Source: the leader of the Kinesis Client Library 3 assigns leases to the worker with the smallest load, and moves leases
of workers whose load is more than 10 % from the average.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from math import exp, inf

from poller.core.leases.expiry import Observed, is_drained
from poller.core.leases.placement import MOVES_AT_ONCE, Move, Placement
from poller.model.lease import Owner, Row, RowKey

IDLE_BYTES_PER_SECOND = 20_000.0
"""The load of an idle shard. This is an estimate: its reads cost about as much CPU as 20 kB of records a second."""

DAMPING_IN_SECONDS = 60.0
"""The time after which a changed rate of a shard counts for about two thirds."""

THRESHOLD = 0.2
"""A lease moves only if the loads of two workers differ by more than this part of the greater load."""

LARGEST_PART = 0.75
"""A lease moves only if its load is at most this part of the difference between the loads of the two workers."""

Receivers = Callable[[RowKey, tuple[Owner, ...]], tuple[Owner, ...]]
"""A function that returns those of the workers that may have a lease."""


def dampened(before: float, measured: float, seconds: float) -> float:
    """Return the bytes per second to store for a shard, after it had the measured rate for these seconds."""
    return measured + (before - measured) * exp(-seconds / DAMPING_IN_SECONDS)


def load_of(row: Row) -> float:
    """Return the load of one lease, in bytes per second."""
    rate = row.details.get("bytes_per_second")
    return IDLE_BYTES_PER_SECOND + (rate if isinstance(rate, int | float) and 0 <= rate < inf else 0.0)


def is_ending(row: Row) -> bool:
    """Return whether the shard has been read to its end, so that its children are known."""
    return bool(row.details.get("children"))


def is_worth_it(load: float, giver_load: float, receiver_load: float) -> bool:
    """Return whether a lease with this load should move between two workers with these loads."""
    difference = giver_load - receiver_load
    return difference > THRESHOLD * giver_load and load <= LARGEST_PART * difference


class Balance(Placement):
    """The places of the shards' leases. `loads` has the load of each of the workers.

    `moving` has the leases that this worker is giving to others.
    """

    def __init__(
        self,
        observed: Observed,
        *,
        moving: Mapping[RowKey, Owner] | None = None,
        receivers: Receivers = lambda _, workers: workers,
        is_stopping: bool = False,
    ) -> None:
        super().__init__(observed, is_stopping=is_stopping)
        self.loads = dict.fromkeys(self.workers, 0.0)
        self._receivers = receivers
        self._rows = {row.key: row for row in observed.leases() if not (row.key.startswith(":") or is_drained(row))}
        without_place = []
        for key, row in self._rows.items():
            holder = (moving or {}).get(key, row.owner)
            if holder is not None and holder in self._may_have(key):
                self.move(key, holder)
            else:
                without_place.append(row)
        self.add(without_place)

    def add(self, rows: Collection[Row]) -> None:
        """Give these leases places at the workers with the smallest loads."""
        self._rows |= {row.key: row for row in rows}
        for _, key in sorted((-load_of(row), row.key) for row in rows):
            if (receiver := self.best(key, self.workers)) is not None:
                self.move(key, receiver)

    def best(self, key: RowKey, workers: Collection[Owner]) -> Owner | None:
        """Return the one of these workers that may have the lease and has the smallest load, or None if none may.

        Each worker gets the same answer.
        """
        receivers = self._receivers(key, tuple(workers))
        return min(receivers, key=lambda each: (self.loads[each], each), default=None)

    def planned(self) -> list[Move]:
        """Return the moves that make the loads alike, at most MOVES_AT_ONCE from each worker."""
        groups: dict[tuple[Owner, ...], defaultdict[Owner, list[tuple[float, RowKey]]]] = {}
        for key, holder in self.places.items():
            row = self._rows[key]
            if row.owner == holder and not is_ending(row):
                groups.setdefault(self._may_have(key), defaultdict(list))[holder].append((load_of(row), key))
        loads = dict(self.loads)
        return [move for receivers, leases in sorted(groups.items()) for move in _moves(receivers, leases, loads)]

    def may_move(self, key: RowKey, receiver: Owner) -> bool:
        """Return whether the worker may have the shard, and whether the move makes the loads more alike."""
        row, loads = self._rows[key], self.loads
        if receiver not in self._may_have(key) or is_ending(row):
            return False
        return is_worth_it(load_of(row), loads[self.places[key]], loads[receiver])

    def move(self, key: RowKey, receiver: Owner) -> None:
        """Change the place of a lease, and the loads."""
        load = load_of(self._rows[key])
        if key in self.places:
            self.loads[self.places[key]] -= load
        self.places[key] = receiver
        self.loads[receiver] += load

    def _may_have(self, key: RowKey) -> tuple[Owner, ...]:
        return self._receivers(key, self.workers)


def _moves(
    receivers: Sequence[Owner], leases: Mapping[Owner, list[tuple[float, RowKey]]], loads: dict[Owner, float]
) -> list[Move]:
    """Return the moves of leases that all have the same possible receivers, and change `loads` accordingly."""
    moves: list[Move] = []
    left = {giver: sorted(its) for giver, its in leases.items()}
    given: Counter[Owner] = Counter()
    while left:
        giver = max(left, key=lambda each: (loads[each], each))
        receiver = min(receivers, key=lambda each: (loads[each], each))
        index = _best(left[giver], loads[giver], loads[receiver])
        if index is None or given[giver] == MOVES_AT_ONCE:
            del left[giver]
            continue
        load, key = left[giver].pop(index)
        moves.append(Move(key, giver, receiver))
        loads[giver] -= load
        loads[receiver] += load
        given[giver] += 1
    return moves


def _best(leases: Sequence[tuple[float, RowKey]], giver_load: float, receiver_load: float) -> int | None:
    """Return the index of the lease that makes the loads most alike, or None. `leases` are ordered by their loads."""
    half = (giver_load - receiver_load) / 2
    above = bisect_left(leases, (half, ""))
    near = [each for each in (above - 1, above) if 0 <= each < len(leases)]
    movable = [each for each in near if is_worth_it(leases[each][0], giver_load, receiver_load)]
    return min(movable, key=lambda each: abs(leases[each][0] - half), default=None)
