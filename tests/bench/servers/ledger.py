"""What became of each record? A book of when it was sent, and how often it was received, invoked and deleted.

A record is a number, which it carries in its body with the time of its sending; so the book finds out from what a
function is called with when each one was first handed over, whether it came again, and whether it overtook another.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

Find = Callable[[bytes], Iterable[tuple[int, int]]]
"""The number and the time of sending, in epoch microseconds, of each record in an event."""


class Faults(NamedTuple):
    """How a run broke the rule that every record is invoked once, in order, and then, in a queue, deleted once."""

    lost: int
    not_deleted: int
    invoked_again: int
    deleted_again: int
    deleted_uninvoked: int
    out_of_order: int


class Ledger:
    """The life of every record, by its number. Within a group (`number % groups`) they have an order; 0 for no order.

    `sent` is in epoch microseconds; the byte arrays count, and stay at 255.
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
        """Room for `count` records sent now; returns their numbers."""
        first = len(self.sent)
        self.sent.extend([epoch_microseconds()] * count)
        for counts in (self.receives, self.invokes, self.deletes):
            counts.extend(bytes(count))
        return range(first, first + count)

    def note_sent(self, count: int) -> None:
        """Messages up to this number were sent through another queue: make room for them."""
        if count > len(self.sent):
            self.add(count - len(self.sent))

    def note_invoke(self, payload: bytes) -> None:
        """Find the records in what a function was called with, and write down when they came."""
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
        """Returns how often the message was received, this time included."""
        return _count_up(self.receives, number)

    def faults(self, *, is_deletion_seen: bool = True) -> Faults:
        """What is wrong if nothing more is to come. Deletions of another queue's messages are not seen here."""
        return Faults(
            lost=self.invokes.count(0),
            not_deleted=self.deletes.count(0) if is_deletion_seen else 0,
            invoked_again=_counted_above_one(self.invokes),
            deleted_again=_counted_above_one(self.deletes),
            deleted_uninvoked=self.deleted_uninvoked,
            out_of_order=self.out_of_order,
        )

    def percentiles(self, shares: Sequence[float]) -> list[float]:
        """Microseconds from send to first invoke, of the records invoked since `latencies` was last cleared."""
        ordered = sorted(self.latencies)
        return [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in shares] if ordered else []

    def _check_order(self, number: int) -> None:
        """Within a group, the numbers handed over must rise."""
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
