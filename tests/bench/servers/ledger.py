"""What happened to each record?

The ledger has the time of its sending, and counts its receives, invocations and deletes.

A record is a number. Its body has this number and the time of its sending. So the ledger sees in each event when a
record was invoked for the first time, whether it was repeated, and whether it overtook another record.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Find = Callable[[bytes], Iterable[tuple[int, int]]]
"""Finds the number and the time of sending, in epoch microseconds, of each record in an event."""


class Faults(NamedTuple):
    """The faults of a run: records that were not invoked once, in order, and then (in a queue) deleted once."""

    lost: int
    not_deleted: int
    invoked_again: int
    deleted_again: int
    deleted_uninvoked: int
    out_of_order: int


class Ledger:
    """The history of every record, by its number.

    The records of a group (`number % groups`) are ordered; with 0, none are.

    `sent` is in epoch microseconds. The byte arrays count up to 255.
    """

    def __init__(self, *, groups: int, find: Find) -> None:
        self.groups = groups
        self._find = find
        self.sent = array("q")
        self.receives = bytearray()
        self.invokes = bytearray()
        self.deletes = bytearray()
        self.invoked = 0
        self.deleted = 0
        self.deleted_uninvoked = 0
        self.out_of_order = 0
        self.latencies = array("q")
        self._newest_of_group = [-1] * groups

    def add(self, count: int) -> range:
        """Add `count` records that are sent now, and return their numbers."""
        first = len(self.sent)
        self.sent.extend([epoch_microseconds()] * count)
        for counts in (self.receives, self.invokes, self.deletes):
            counts.extend(bytes(count))
        return range(first, first + count)

    def note_sent(self, count: int) -> None:
        """Add the messages up to this number, which were sent through another queue."""
        if count > len(self.sent):
            self.add(count - len(self.sent))

    def note_invoke(self, payload: bytes) -> None:
        """Find the records in an event, and record the time of their invocation."""
        now = epoch_microseconds()
        for number, sent in self._find(payload):
            if not self.invokes[number]:
                self.invoked += 1
                self.latencies.append(now - sent)
            _count_up(self.invokes, number)
            self._check_order(number)

    def note_delete(self, number: int) -> None:
        if not self.deletes[number]:
            self.deleted += 1
        if not self.invokes[number]:
            self.deleted_uninvoked += 1
        _count_up(self.deletes, number)

    def note_receive(self, number: int) -> int:
        """Count a receive of the message, and return the number of its receives."""
        return _count_up(self.receives, number)

    def faults(self, *, is_deletion_seen: bool = True) -> Faults:
        """Return the faults at the end of a run. Deletes of another queue's messages are not seen here."""
        return Faults(
            lost=self.invokes.count(0),
            not_deleted=self.deletes.count(0) if is_deletion_seen else 0,
            invoked_again=_counted_above_one(self.invokes),
            deleted_again=_counted_above_one(self.deletes),
            deleted_uninvoked=self.deleted_uninvoked,
            out_of_order=self.out_of_order,
        )

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Return percentiles of the times from send to first invocation, in µs, since `latencies` was cleared."""
        ordered = sorted(self.latencies)
        return [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in shares] if ordered else []

    def _check_order(self, number: int) -> None:
        """Check that the numbers of the invoked records of a group rise."""
        if not self.groups:
            return
        group = number % self.groups
        if number <= self._newest_of_group[group]:
            self.out_of_order += 1
        self._newest_of_group[group] = number


def epoch_microseconds() -> int:
    return time.time_ns() // 1000


def _count_up(counts: bytearray, number: int) -> int:
    counts[number] = min(counts[number] + 1, 255)
    return counts[number]


def _counted_above_one(counts: bytearray) -> int:
    return len(counts) - counts.count(0) - counts.count(1)
