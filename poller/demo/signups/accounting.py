"""Do the queues' numbers add up? Two independent sources are compared with each other and with what should happen:

    emulator    rows in the table, rows in the dead-letter queue, messages in the queue, order within each company
    daemon      /metrics: polled, filtered out, invoked, failed, deleted

A row that is stored twice is not a fault, because SQS delivers at least once. The daemon may count more successes than
there are rows in the table, but at most one more for each time that a row was stored again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from poller.demo.books import Book, differ
from poller.demo.metrics import Metrics
from poller.demo.signups.story import MAX_RECEIVES, Expected, Queue


class StoredRow(NamedTuple):
    """A row of the users table. `number` is the row's number in the CSV.

    `place` is the order of storing within the company, from 1. It may have gaps after rows that were stored again.
    """

    number: int
    email: str
    company: str
    place: int
    times_stored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The rows of one queue, as the emulator has them now.

    `left_over` is the number of messages that are still in the queue.
    `dead_letters` are the numbers of at most ten rows in the dead-letter queue.
    """

    left_over: int
    dead_letter_count: int
    dead_letters: Sequence[int]
    stored: Sequence[StoredRow]

    @property
    def duplicates(self) -> int:
        return sum(row.times_stored - 1 for row in self.stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """The numbers in the daemon's metrics for one mapping: records, and `invocations` for each outcome."""

    polled: int = 0
    filtered_out: int = 0
    invoked: int = 0
    failed: int = 0
    deleted: int = 0
    invocations: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, metrics: Metrics, queue: Queue) -> Counted:
        def records(what: str) -> int:
            return metrics.total(f"poller_records_{what}_total", mapping=queue.mapping)

        return cls(
            polled=records("polled"),
            filtered_out=records("filtered_out"),
            invoked=records("invoked"),
            failed=records("failed"),
            deleted=metrics.total("poller_messages_deleted_total", mapping=queue.mapping),
            invocations=metrics.by("outcome", "poller_invocations_total", mapping=queue.mapping),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account(Book):
    """The book of one queue."""

    queue: str
    is_fifo: bool
    sent: int
    expected: Expected
    held: Held
    counted: Counted

    @property
    def name(self) -> str:
        return self.queue

    @property
    def done(self) -> int:
        return self.counted.filtered_out + len(self.held.stored) + self.held.dead_letter_count

    @property
    def total(self) -> int:
        return self.expected.rows

    @property
    def news(self) -> str:
        held = self.held
        return f"{self.counted.filtered_out} filtered out, {len(held.stored)} stored, {held.dead_letter_count} failed"

    @property
    def is_in_order(self) -> bool:
        """Return whether each company's rows were stored in the order of the CSV."""
        return not any(_overtakings(self.held.stored))

    def faults(self) -> Iterator[str]:
        yield from _fates(self)
        yield from _daemon(self)
        yield from _order(self)


def _fates(account: Account) -> Iterator[str]:
    """Yield a fault for each row that is not in the table or the dead-letter queue as it should be.

    It is a fault, too, if messages are still in the queue.
    """
    wanted, held = account.expected, account.held
    stored = Counter(row.number for row in held.stored)
    yield from differ("rows sent", account.sent, wanted.rows)
    yield from differ("messages in the queue at the end", held.left_over, 0)
    yield from differ("rows stored", len(held.stored), len(wanted.stored))
    yield from differ("rows in the dead-letter queue", held.dead_letter_count, len(wanted.poisoned))
    yield from _strangers("in the table", stored.keys() - wanted.stored)
    yield from _strangers("in the dead-letter queue", set(held.dead_letters) - wanted.poisoned)


def _daemon(account: Account) -> Iterator[str]:
    """Yield a fault for each number of the daemon that differs from the number of the emulator."""
    counted, held = account.counted, account.held
    stored, succeeded = len(held.stored), counted.invoked - counted.failed
    yield from differ("records that the daemon filtered out", counted.filtered_out, len(account.expected.filtered_out))
    yield from differ("records that the daemon deleted", counted.deleted, counted.filtered_out + stored)
    yield from differ("records that the daemon polled", counted.polled, counted.filtered_out + counted.invoked)
    if not stored <= succeeded <= stored + held.duplicates:
        yield (
            f"records that the function did not name as failed: {succeeded}, "
            f"but {stored} rows are stored, {held.duplicates} of them twice"
        )
    wanted = MAX_RECEIVES * held.dead_letter_count + len(account.expected.delayed)
    if counted.failed < wanted:
        yield f"records that failed: {counted.failed}, should be {wanted} or more"


def _order(account: Account) -> Iterator[str]:
    """Yield a fault for each row of a FIFO queue that was stored out of order. Only a FIFO queue promises order."""
    if account.is_fifo:
        for earlier, later in _overtakings(account.held.stored):
            yield f"company {later.company}: row {later.number} was stored after row {earlier.number}"


def _overtakings(stored: Iterable[StoredRow]) -> Iterator[tuple[StoredRow, StoredRow]]:
    """Yield each pair of rows of a company that were stored one after the other, but in the wrong order."""
    by_place = sorted(stored, key=lambda row: (row.company, row.place))
    return (
        (earlier, later)
        for earlier, later in pairwise(by_place)
        if earlier.company == later.company and earlier.number > later.number
    )


def _strangers(where: str, numbers: set[int]) -> Iterator[str]:
    if numbers:
        yield f"rows {where} that should not be there: {', '.join(map(str, sorted(numbers)))}"
