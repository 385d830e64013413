"""Which worker should have each lease, and what does this worker do about it?

There is no leader. After each scan, every worker computes the same placement from what it has observed, and carries out
its own part. The workers see nearly the same table, so their placements agree. Where they do not, the table decides,
and the next scan shows what is left to do.

A lease has its place at its holder, if this worker is live, does not stop, and may have the lease. All other leases are
placed anew, with the workers that have the least (`balancing.py`: shards; `units.py`: units of concurrency):

    take       A worker takes the free leases that have their place at itself. It also takes a lease that it has wanted
               for a lease duration: the other worker may be unable to take it, for example because its file does not
               have the mapping.
    request    While one worker has much more than another one, leases should move. The receiver asks for leases of a
               stream, or for units of a limit, without naming them (R8). So one short message moves many leases.
    grant      The holder gives away those leases that its own placement moves to the receiver, and only while the moves
               make the two more alike. The request may be old, and several workers may have asked.
    hand-over  A worker that stops, or that lost its last unit (R10), offers each lease to the worker where it has its
               place. Every lease counts at once for its receiver, so no worker gets them all.
    leave      If a worker does not use a lease any more, for example because its file no longer has the mapping, the
               worker gives the lease a place at another worker, and offers the lease to that worker.

While a worker stops, it computes the placement again after each scan, so that a worker that has ended meanwhile is
offered nothing more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import NamedTuple

from poller.core.leases.expiry import Observed
from poller.model.lease import Owner, RowKey

MOVES_AT_ONCE = 2_000
"""How many leases a worker gives away in one round. While these leases move, the others can still be renewed."""


class Move(NamedTuple):
    """A lease that should move from one worker to another."""

    key: RowKey
    giver: Owner
    receiver: Owner


def prefix_of(key: RowKey) -> str:
    """Return the beginning of the key: all leases of one stream and mapping share it, or all units of one limit."""
    return key.rpartition("/")[0]


class Placement(ABC):
    """The place of each lease of one kind, as this worker has computed it from one scan.

    `workers` are the live workers that do not stop, in order. `places` has no lease for which there is no worker.
    """

    def __init__(self, observed: Observed, *, is_stopping: bool) -> None:
        self.owner = observed.owner
        self.workers = _available(observed, is_stopping=is_stopping)
        self.places: dict[RowKey, Owner] = {}
        self._observed = observed

    def to_take(self, wanted: Mapping[RowKey, float], *, now: float, held: Collection[RowKey]) -> list[RowKey]:
        """Return the leases that this worker should take now.

        `wanted` has the leases that this worker could use, each with the time since which it wants the lease.
        `held` has the leases that it holds.
        """
        free = [key for key in wanted if self._observed.may_take(key, now=now, held=held)]
        is_late = self._observed.is_late
        return [key for key in free if self.places.get(key) == self.owner or is_late(key, wanted[key], now=now)]

    def to_request(self, prefixes: Collection[str]) -> list[Move]:
        """Return the moves for which this worker should ask other workers.

        `prefixes` are those of the leases that this worker could use.
        """
        return [move for move in self.planned() if move.receiver == self.owner and prefix_of(move.key) in prefixes]

    def to_grant(self, prefix: str, receiver: Owner) -> list[RowKey]:
        """Return the leases that this worker should give away to a worker that asks for leases with this prefix.

        From now on, these leases have their place at that worker.
        """
        asked = [
            move.key
            for move in self.planned()
            if move.giver == self.owner and move.receiver == receiver and prefix_of(move.key) == prefix
        ]
        return [key for key in asked if self.grant(key, receiver)]

    def grant(self, key: RowKey, receiver: Owner) -> bool:
        """Return whether this worker should give away a lease that it holds to a worker that asks for it.

        If the result is true, the lease has its place at that worker from now on.
        """
        if self.places.get(key) != self.owner or not self.may_move(key, receiver):
            return False
        self.move(key, receiver)
        return True

    def place_elsewhere(self, key: RowKey) -> Owner | None:
        """Give a lease that this worker does not use a place at another worker. Return that worker, or None.

        The lease must already have a place.
        """
        receiver = self.best(key, [each for each in self.workers if each != self.owner])
        if receiver is not None:
            self.move(key, receiver)
        return receiver

    @abstractmethod
    def best(self, key: RowKey, workers: Collection[Owner]) -> Owner | None:
        """Return the one of these workers that should get the lease next, or None if none of them may have it."""

    @abstractmethod
    def planned(self) -> list[Move]:
        """Return the moves after which all workers have about as much, at most MOVES_AT_ONCE from each worker."""

    @abstractmethod
    def may_move(self, key: RowKey, receiver: Owner) -> bool:
        """Return whether the lease may move from its place to this worker, and whether the move is worth it."""

    @abstractmethod
    def move(self, key: RowKey, receiver: Owner) -> None:
        """Change the place of a lease."""


def _available(observed: Observed, *, is_stopping: bool) -> tuple[Owner, ...]:
    others = [each for each, row in observed.live_workers().items() if not row.details.get("is_stopping")]
    return tuple(sorted(others if is_stopping else [*others, observed.owner]))
