"""How do workers talk to each other? Each worker has a row of its own, into which the others write.

    offer      "this lease has no owner now: take it"         the receiver takes it at once, if a user waits for it
    request    "leases of this stream should be mine"         the receiver lets the users of some leases finish, and
                                                              gives these leases away
    stop       "I stop, and soon offer my leases"             the receiver reads its own row ten times as often

The worker reads its own row each second, and empties it. It also writes a new heartbeat into it, as often as it renews
leases; this shows the others that it lives, and how much it reads. The heartbeat counts the answers to these writes: a
worker whose writes arrive, but get no answer, cannot hold a lease (R4), so the others should give it none.
At a stop, a worker first sends the message `stop`. Its users go on reading until all receivers have read the message,
which takes up to a second. From then on, a receiver sees each offer within a tenth of a second:

    SIGTERM ── scan ── `stop` is written ── all receivers have read it ── the users leave ── leases are offered ── taken

A worker also reads its own row more often after it has sent a request, because offers are the answer.

Messages are only hints. If one is lost, the next scan of the table shows the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from math import inf

import anyio

from poller.core.leases.expiry import RENEWALS_PER_DURATION, Observed
from poller.engine.leases.table import Table
from poller.errors import ServiceError
from poller.model.lease import Detail, Owner, Row, RowKey

READS_PER_DURATION = 10
"""How often a worker reads its own row in one lease duration: each second.

A message waits up to this time until it is read.
"""

FAST_READS_PER_DURATION = 100
"""How often a worker reads its own row while it expects offers, or an answer to its `stop`: ten times a second."""

EXPECTED_AFTER_STOP = 1.0
"""The part of the lease duration for which a worker expects offers after a message `stop`, and after each offer."""

EXPECTED_AFTER_REQUEST = 0.3
"""The part of the lease duration for which a worker expects offers after a request.

It is short, because a request may be denied, and is repeated after each scan.
"""

LONGEST_ANNOUNCEMENT = 2 / READS_PER_DURATION
"""The longest wait until the others have read this worker's message `stop`, as a part of the lease duration."""

KINDS = ("offers", "requests", "stops")

MESSAGES_AT_ONCE = 100
"""How many messages of each kind a row holds at most. A worker whose row is full of offers scans the table."""


def worker_key(owner: Owner) -> RowKey:
    return RowKey(f":worker/{owner}")


class Messages:
    """The worker's own row, and its messages to other workers.

    `status` returns what the worker tells about itself. `offered` and `requested` get the messages of others.
    `unoffered` gets the leases that could not be offered, because their receiver stops or has ended.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        observed: Observed,
        table: Table,
        lease_duration: float,
        status: Callable[[], dict[str, Detail]],
        offered: Callable[[list[RowKey]], None],
        requested: Callable[[str, Owner], None],
        unoffered: Callable[[list[RowKey]], None],
    ) -> None:
        self._owner = owner
        self._observed = observed
        self._table = table
        self._clock = table.clock
        self._lease_duration = lease_duration
        self._interval = lease_duration / RENEWALS_PER_DURATION
        self._status = status
        self._offered = offered
        self._requested = requested
        self._unoffered = unoffered
        self._heartbeats = 0
        """How many writes of the own row the table has accepted."""
        self._beat_at = -inf
        self._fast_until = -inf
        """Until this time, this worker reads its own row often."""
        self._unread: dict[Owner, None] = {}
        """The workers that have not read this worker's message `stop` yet."""
        self._outgoing: defaultdict[Owner, list[tuple[str, Detail]]] = defaultdict(list)
        self._hurried = anyio.Event()
        self.has_row = anyio.Event()
        """Set when the other workers can see this worker in the table."""
        self.has_told_stop = anyio.Event()
        """Set when the other workers can see that this worker stops."""
        self.has_announced_stop = anyio.Event()
        """Set when the other workers have read this worker's message `stop`."""
        self._is_announcing = self._is_closing = False
        self._closed = anyio.Event()

    def offer(self, to: Owner, key: RowKey) -> None:
        """Tell a worker soon that it should take this lease."""
        self._outgoing[to].append(("offers", key))
        self._hurried.set()

    def request(self, of: Owner, prefix: str) -> None:
        """Ask a worker soon for leases whose keys have this prefix."""
        self._outgoing[of].append(("requests", [prefix, self._owner]))
        self._read_often(EXPECTED_AFTER_REQUEST)
        self._hurried.set()

    def announce_stop(self, to: Collection[Owner]) -> None:
        """Tell these workers soon that this worker stops, and will offer them leases."""
        for owner in to:
            self._outgoing[owner].append(("stops", self._owner))
            self._unread[owner] = None
        self._is_announcing = True
        self._read_often(LONGEST_ANNOUNCEMENT)
        self._hurried.set()

    def beat(self) -> None:
        """Write this worker's own row as soon as possible."""
        self._beat_at = -inf
        self._hurried.set()

    async def run(self) -> None:
        """Read and write messages again and again, until closed or cancelled."""
        while True:
            self._hurried = anyio.Event()
            began = self._clock.now()
            try:
                await self.run_once()
                self._table.health.succeeded("exchange messages")
                if self._is_closing and not self._outgoing:
                    await self._delete_own_row()
                    self._closed.set()
                    return
            except ServiceError as error:
                self._beat_at = -inf
                await self._table.pause("exchange messages", error)
                continue
            reads = FAST_READS_PER_DURATION if began < self._fast_until else READS_PER_DURATION
            await self._table.wait_for(self._hurried, until=began + self._lease_duration / reads)

    async def close(self) -> None:
        """Wait until all messages are sent, and delete the own row."""
        self._is_closing = True
        self._hurried.set()
        await self._closed.wait()

    async def run_once(self) -> None:
        """Read the own row and those of the receivers; then write the messages, and empty the own row."""
        outgoing = {owner: list(messages) for owner, messages in self._outgoing.items()}
        own_key = worker_key(self._owner)
        others = dict.fromkeys([*outgoing, *self._unread])
        rows = await self._table.read([own_key, *map(worker_key, others)])
        now = self._clock.now()
        for row in rows.values():
            self._observed.saw(row, now=now)
        for key in map(worker_key, outgoing):
            if key not in rows:  # otherwise the next plan would offer the same leases to the same worker
                self._observed.missed(key)
        own = rows.get(own_key)
        new_own = self._next_own_row(own, now)
        if own is not None:
            self._receive(own)
        elif new_own is not None:
            await self._table.create([new_own])
            if self._heartbeats:
                self._beat_at = now  # the next write repeats this heartbeat, because only the answers to updates count
            self._heartbeats = max(self._heartbeats, 1)
        found = {owner: rows[key] for owner in outgoing if (key := worker_key(owner)) in rows}
        receivers = {owner: row for owner, row in found.items() if not is_stopping(row)}
        new = [_with(row, outgoing[owner]) for owner, row in receivers.items()]
        if own is not None and new_own is not None:
            new.append(new_own)
        rejected = await self._table.update(new) if new else frozenset()
        for owner, sent in outgoing.items():
            if worker_key(owner) not in rejected and (rest := self._outgoing.pop(owner)[len(sent) :]):
                self._outgoing[owner] = rest
        if own_key in rejected:
            self._beat_at = -inf
        else:
            self.has_row.set()
            if own is not None and new_own is not None:
                self._heartbeats += 1
            if new_own is not None and is_stopping(new_own):
                self.has_told_stop.set()
        if rejected:
            self._hurried.set()
        for owner in others:
            read = rows.get(worker_key(owner))
            if read is None or not (owner in outgoing or self._owner in _messages(read, "stops")):
                self._unread.pop(owner, None)
        if self._is_announcing and not self._unread:
            self.has_announced_stop.set()
        lost = [sent for owner, sent in outgoing.items() if owner not in receivers]
        self._unoffered(
            [RowKey(key) for sent in lost for kind, key in sent if kind == "offers" and isinstance(key, str)]
        )

    async def _delete_own_row(self) -> None:
        rows = await self._table.read([worker_key(self._owner)])
        await self._table.delete(rows.values())

    def _next_own_row(self, own: Row | None, now: float) -> Row | None:
        """Return the row to write: a new one, one with a new heartbeat, or one without messages; None to write none."""
        if own is None:  # the worker begins, or another worker believed that it was dead
            new = Row(key=worker_key(self._owner), owner=self._owner, details=self._own_details())
        elif now >= self._beat_at or any(_messages(own, kind) for kind in KINDS):
            new = replace(own, counter=own.counter + 1, details=self._own_details())
        else:
            return None
        self._beat_at = now + self._interval
        return new

    def _own_details(self) -> dict[str, Detail]:
        return {**self._status(), "heartbeat": self._heartbeats, **{kind: [] for kind in KINDS}}

    def _receive(self, own: Row) -> None:
        if _messages(own, "offers") or _messages(own, "stops"):
            self._read_often(EXPECTED_AFTER_STOP)
        offers = [RowKey(key) for key in _messages(own, "offers") if isinstance(key, str)]
        if offers:
            self._offered(offers)
        for request in _messages(own, "requests"):
            match request:
                case [str(prefix), str(asker)]:
                    self._requested(prefix, Owner(asker))

    def _read_often(self, part_of_duration: float) -> None:
        """Read the own row often for at least this part of the lease duration."""
        self._fast_until = max(self._fast_until, self._clock.now() + part_of_duration * self._lease_duration)


def is_stopping(row: Row) -> bool:
    return bool(row.details.get("is_stopping"))


def _messages(row: Row, kind: str) -> list[Detail]:
    messages = row.details.get(kind)
    return messages if isinstance(messages, list) else []


def _with(row: Row, sent: Iterable[tuple[str, Detail]]) -> Row:
    """Return the row with these messages added. Messages for which the row has no room are left out."""
    details = dict(row.details)
    for kind in KINDS:
        new = [message for its_kind, message in sent if its_kind == kind]
        details[kind] = [*_messages(row, kind), *new][:MESSAGES_AT_ONCE]
    return replace(row, counter=row.counter + 1, details=details)
