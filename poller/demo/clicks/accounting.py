"""Do the clicks' numbers add up, and did order hold? Three independent sources are compared:

    emulator    the shard and sequence number of each click, and the messages in the queue `failures`
    function    its trace: which clicks it saw, at which shard and sequence number, and in which order
    daemon      /metrics: records polled, invoked, failed, discarded and reported

The function may get a click again, because a failed batch is retried. /metrics must count at least as many failures.
For the order, only the first delivery of a click counts. For each user, the first deliveries must be in the order of
the clicks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from poller.demo.books import Book, differ, unequal
from poller.demo.clicks.stage import Reported
from poller.demo.clicks.story import CLICKS_OF_EACH, MAPPING, MAXIMUM_RETRY_ATTEMPTS, POISON, USERS, Click
from poller.demo.clicks.trace import Sighting
from poller.demo.metrics import Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedClicks:
    """The numbers in the daemon's metrics: `bisections` and `retries` count batches, and all others count records.

    If the numbers are not exact, because a worker was killed, only the emulator and the function are compared.
    """

    polled: int = 0
    invoked: int = 0
    failed: int = 0
    discarded: int = 0
    delivered: int = 0
    bisections: int = 0
    retries: int = 0
    are_exact: bool = True

    @classmethod
    def of(cls, metrics: Metrics) -> CountedClicks:
        def count(what: str) -> int:
            return metrics.total(f"poller_{what}_total", mapping=MAPPING)

        return cls(
            polled=count("records_polled"),
            invoked=count("records_invoked"),
            failed=count("records_failed"),
            discarded=count("records_discarded"),
            delivered=count("records_reported"),
            bisections=count("bisections"),
            retries=count("retries"),
            are_exact=metrics.are_exact,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickBook(Book):
    """`put` are the clicks with their positions in the stream. `seen` is the function's trace, with repeats."""

    put: Sequence[Sighting]
    seen: Sequence[Sighting]
    reported: Sequence[Reported]
    counted: CountedClicks

    @property
    def name(self) -> str:
        return "clicks"

    @property
    def done(self) -> int:
        return len(self.first_sightings) + len(self.reported)

    @property
    def total(self) -> int:
        return len(USERS) * CLICKS_OF_EACH

    @property
    def news(self) -> str:
        return f"{len(self.first_sightings)} seen, {len(self.reported)} discarded and reported"

    @property
    def first_sightings(self) -> Sequence[Sighting]:
        """Return each click once, in the order of the first sightings."""
        first: dict[Click, Sighting] = {}
        for sighting in self.seen:
            first.setdefault(sighting.click, sighting)
        return list(first.values())

    @property
    def repeats(self) -> int:
        return len(self.seen) - len(self.first_sightings)

    @property
    def is_in_order(self) -> bool:
        return not any(_order(self))

    def faults(self) -> Iterator[str]:
        yield from _fates(self)
        yield from _report(self)
        yield from _daemon(self)
        yield from _order(self)


def _fates(book: ClickBook) -> Iterator[str]:
    """Yield a fault for each click that the function did not see, or that it saw at a wrong sequence number.

    The poison may be missing.
    """
    yield from differ("clicks put", len(book.put), book.total)
    yield from unequal(
        "clicks seen",
        frozenset(_words(sighting.click) for sighting in book.seen),
        frozenset(_words(sighting.click) for sighting in book.put if sighting.click != POISON),
    )
    places = {sighting.click: sighting for sighting in book.put}
    for sighting in book.seen:
        if places.get(sighting.click, sighting) != sighting:
            yield f"{_words(sighting.click)} was put elsewhere than at {sighting.shard}:{sighting.sequence_number}"


def _report(book: ClickBook) -> Iterator[str]:
    """Yield a fault if there is not exactly one invocation record, or if it does not name the poison alone.

    If a worker was killed, there may be a second invocation record: the next worker continues with the attempts that
    were stored.
    """
    is_exact = book.counted.are_exact
    if is_exact or not book.reported:
        yield from differ("invocation records", len(book.reported), 1)
    places = [(sighting.shard, sighting.sequence_number) for sighting in book.put if sighting.click == POISON]
    for reported in book.reported:
        batch = reported.batch
        named = {(batch["shardId"], batch[key]) for key in ("startSequenceNumber", "endSequenceNumber")}
        if batch["batchSize"] != 1 or named != set(places):
            yield f"a record names {batch['batchSize']} records at {sorted(named)}, should name 1 at {places}"
        if reported.data != POISON.data:
            yield f"the invocation record names the data {reported.data!r}, should be {POISON.data!r}"
        if is_exact:
            attempts = reported.record["requestContext"]["approximateInvokeCount"]
            yield from differ("invocations with the poison alone", attempts, 1 + MAXIMUM_RETRY_ATTEMPTS)


def _daemon(book: ClickBook) -> Iterator[str]:
    """Yield a fault for each number of the daemon that differs from the numbers of the emulator and of the function."""
    counted, given_up = book.counted, len(book.reported)
    if not counted.are_exact:
        return
    yield from differ("records that the daemon polled", counted.polled, len(book.put))
    yield from differ("records that the daemon discarded", counted.discarded, given_up)
    yield from differ("discarded records whose invocation record was delivered", counted.delivered, given_up)
    succeeded = counted.invoked - counted.failed
    yield from differ("records that the function took", succeeded, len(book.first_sightings))
    if book.repeats > counted.failed:
        yield f"clicks seen again: {book.repeats}, but only {counted.failed} were in a batch that failed"
    if given_up and not counted.bisections:
        yield "no batch was bisected, so the poison was never alone"


def _order(book: ClickBook) -> Iterator[str]:
    """Yield a fault for each click that was first seen after a later click of its user."""
    latest: dict[str, int] = {}
    for sighting in book.first_sightings:
        click = sighting.click
        if click.number < latest.get(click.user, 0):
            yield f"{_words(click)} was first seen after click {latest[click.user]}"
        latest[click.user] = click.number


def _words(click: Click) -> str:
    return f"click {click.number} of {click.user}"
