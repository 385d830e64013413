"""Which leases may a worker take, and which workers are alive?

`Observed` is what one worker has seen of the table. It keeps each row with two times on the worker's monotonic clock:
`since`, when the worker first saw this value of the counter, and `seen_at`, when it last saw it. For a person it also
keeps `owned_since`, when it first saw this owner with this token.

    the lease                                   this worker may take it (R2)
    has no owner                                at once
    is owned by this worker, but not held       at once: the worker lost it, or the answer to a take was lost
    is owned by another worker                  `lease_duration` after `since`, if the row is silent
    is owned by a worker that is known dead     at once: the parent of several workers sees the end of each process
    belongs to a drained shard                  never

A row is silent if the worker saw the same value again after half of the lease duration. In this time the owner should
have renewed once. A pause of this worker makes no row silent by itself: the worker must see the same value again.

A take cannot be too early. The owner sent its last renewal before this worker saw its effect, and stops SAFE_PART of
the lease duration after the sending. If the owner has renewed since, the table rejects the take (R1).

A live worker writes its own row with a new `heartbeat` as often as it renews. The counter of this row is not a sign of
life, because other workers write messages into the row.

A scan may show a row as it was some seconds ago. So if this worker has read or written a row itself since the previous
scan (`saw`), the scan neither removes the row nor replaces it by one with a lower counter.

Source: the Kinesis Client Library's lease taker, which measures expiry in the same way.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import ShardEnd

LEASE_DURATION_IN_SECONDS = 10.0
"""The time without a renewal after which other workers may take a lease. KCL's default is the same."""

RENEWALS_PER_DURATION = 3
"""How often a worker renews its leases, and writes its own row, in one lease duration."""

SILENT_PART = 0.5
"""The part of the lease duration after which an unchanged row is silent: one renewal and a half."""

DEAD_WORKER_DURATIONS = 3
"""After this many lease durations without a heartbeat, any worker deletes a worker's row."""


def is_lease(row: Row) -> bool:
    """Return whether the row is the lease of a shard or of a unit."""
    return row.key.startswith(":unit/") or not row.key.startswith(":")


def is_worker(row: Row) -> bool:
    return row.key.startswith(":worker/")


def is_drained(row: Row) -> bool:
    """Return whether the row is the lease of a shard whose records are all done."""
    return row.checkpoint is not None and isinstance(row.checkpoint.position, ShardEnd)


class _Seen(NamedTuple):
    row: Row
    since: float
    owned_since: float
    seen_at: float
    is_from_scan: bool


class Lost(NamedTuple):
    """A row that the table has no more, as this worker saw it last, at `seen_at`."""

    row: Row
    seen_at: float


class Observed:
    """The table as one worker has seen it. Each `now` is a moment after the answer with the rows has arrived."""

    def __init__(self, owner: Owner, *, lease_duration: float = LEASE_DURATION_IN_SECONDS) -> None:
        self.owner = owner
        self.lease_duration = lease_duration
        self.lost: dict[RowKey, Lost] = {}
        """The rows that this worker has seen, and that the table has no more (`lost_rows.py`)."""
        self._seen: dict[RowKey, _Seen] = {}
        self._dead: set[Owner] = set()

    def died(self, owner: Owner) -> None:
        """Note that the process of another worker has ended, so that it never writes again."""
        self._dead.add(owner)

    def scanned(self, rows: Iterable[Row], *, now: float) -> None:
        """Note the rows of a whole scan."""
        before = self._seen
        self._seen = {}
        for row in rows:
            self._note(row, before.get(row.key), now=now, is_from_scan=True)
        for key, known in before.items():
            scanned = self._seen.get(key)
            if not known.is_from_scan and (scanned is None or scanned.row.counter < known.row.counter):
                self._seen[key] = known._replace(is_from_scan=True)
            elif scanned is None:
                self.lost[key] = Lost(known.row, known.seen_at)
        self._dead.intersection_update(seen.row.owner for seen in self._seen.values() if seen.row.owner is not None)

    def saw(self, row: Row, *, now: float) -> None:
        """Note a row that this worker has read, or that the table has accepted from this worker."""
        self._note(row, self._seen.get(row.key), now=now, is_from_scan=False)

    def missed(self, key: RowKey) -> None:
        """Note that a read did not find the row."""
        if (seen := self._seen.pop(key, None)) is not None:
            self.lost[key] = Lost(seen.row, seen.seen_at)

    def deleted(self, key: RowKey) -> None:
        """Note that this worker has deleted the row."""
        self._seen.pop(key, None)

    def forget_lost(self, *, but: Collection[RowKey]) -> None:
        """Forget the rows that the table has lost, except these."""
        self.lost = {key: lost for key, lost in self.lost.items() if key in but}

    def get(self, key: RowKey) -> Row | None:
        seen = self._seen.get(key)
        return None if seen is None else seen.row

    def leases(self) -> Iterator[Row]:
        return (seen.row for seen in self._seen.values() if is_lease(seen.row))

    def shards(self, stream_arn: str) -> list[Row]:
        """Return the rows of the stream's shards, under the names of all mappings."""
        part = f"/{stream_arn}/"
        return [seen.row for key, seen in self._seen.items() if part in key]

    def since(self, key: RowKey) -> float:
        """Return when this worker first saw the row as it is now; -inf if it has not seen the row."""
        return seen.since if (seen := self._seen.get(key)) is not None else -_NEVER

    def seen_at(self, key: RowKey) -> float:
        """Return when this worker last saw the row; -inf if it has not seen the row."""
        return seen.seen_at if (seen := self._seen.get(key)) is not None else -_NEVER

    def owned_since(self, key: RowKey) -> float:
        """Return since when this worker has seen the present owner; -inf if it has not seen the row."""
        return seen.owned_since if (seen := self._seen.get(key)) is not None else -_NEVER

    def free_at(self, key: RowKey) -> float:
        """Return the moment from which this worker may take the lease, if it does not hold it.

        Return inf if no such moment is known, and -inf if this worker has not seen the row.
        """
        return self._free_at(seen) if (seen := self._seen.get(key)) is not None else -_NEVER

    def may_take(self, key: RowKey, *, now: float, held: Collection[RowKey]) -> bool:
        """Return whether this worker may take the lease now. `held` has the keys of the leases that it holds."""
        seen = self._seen.get(key)
        return seen is not None and key not in held and self._free_at(seen) <= now

    def is_late(self, key: RowKey, wanted_since: float, *, now: float) -> bool:
        """Return whether the lease has been free, and wanted by this worker, for at least the lease duration."""
        seen = self._seen.get(key)
        return seen is not None and now - max(wanted_since, self._free_at(seen)) >= self.lease_duration

    def next_expiry(self, keys: Iterable[RowKey], *, now: float) -> float | None:
        """Return the first moment after `now` at which one of these leases is free; None if no such moment is known.

        The worker does not hold these leases. It should read the lease at this moment, and take it if its counter still
        has not moved.
        """
        return min((at for key in keys if now < (at := self.free_at(key)) < _NEVER), default=None)

    def live_workers(self) -> dict[Owner, Row]:
        """Return the rows of the other live workers: they send heartbeats, and none of their leases is silent.

        A heartbeat alone does not show that a worker is alive. It may be the last thing that the worker did.
        """
        # a lease that is silent for longer says nothing: another worker would have taken it if it were wanted
        limit = DEAD_WORKER_DURATIONS * self.lease_duration
        silent = {
            seen.row.owner
            for seen in self._seen.values()
            if self._is_silent(seen) and not is_drained(seen.row) and seen.seen_at - seen.since < limit
        } | {self.owner, *self._dead}
        rows = [seen.row for seen in self._seen.values() if is_worker(seen.row) and not self._is_silent(seen)]
        return {row.owner: row for row in rows if row.owner is not None and row.owner not in silent}

    def dead_workers(self) -> list[Row]:
        """Return the rows of other workers that have ended, or were silent for DEAD_WORKER_DURATIONS lease durations.

        Any worker may delete these rows.
        """
        limit = DEAD_WORKER_DURATIONS * self.lease_duration
        rows = [
            seen.row
            for seen in self._seen.values()
            if seen.seen_at - seen.since >= limit or seen.row.owner in self._dead
        ]
        return [row for row in rows if is_worker(row) and row.owner != self.owner]

    def _note(self, row: Row, known: _Seen | None, *, now: float, is_from_scan: bool) -> None:
        self.lost.pop(row.key, None)
        is_same = known is not None and sign_of_life(known.row) == sign_of_life(row)
        since = known.since if known is not None and is_same else now
        has_same_owner = known is not None and (known.row.owner, known.row.token) == (row.owner, row.token)
        owned_since = known.owned_since if known is not None and has_same_owner else now
        self._seen[row.key] = _Seen(row, since, owned_since, now, is_from_scan)

    def _free_at(self, seen: _Seen) -> float:
        """Return the moment from which this worker may take the lease, if it does not hold it."""
        row = seen.row
        if not is_lease(row) or is_drained(row):
            return _NEVER
        if row.owner in (None, self.owner) or row.owner in self._dead:
            return seen.since
        return seen.since + self.lease_duration if self._is_silent(seen) else _NEVER

    def _is_silent(self, seen: _Seen) -> bool:
        return seen.seen_at - seen.since >= SILENT_PART * self.lease_duration


_NEVER = float("inf")


def sign_of_life(row: Row) -> object:
    """Return a value that changes while the owner of the row lives."""
    if is_worker(row):
        return row.details.get("heartbeat")
    return row.counter, row.owner, row.token  # a row that was deleted and created again may reach an old counter
