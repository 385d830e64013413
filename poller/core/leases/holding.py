"""What may a worker do with a lease in hand, and which row does it write next?

`Held` is one lease from the take to its end. Every write goes through it:

    row = held.take(now)  |  held.renewal(now)  |  held.give_away(now)        then the worker sends the row to the table
    accepted            held.accepted(now)
    rejected, or no     held.found(row, now), with the row that the worker has read, or None if there is no row (R6)
    answer

            take            accepted              give_away           accepted
    (begin) ────> taking ──────────────> holding ───────────> giving ──────────> over: "given away"
                    │                      │                     │
                    └──────────────────────┴─────────────────────┴─────────────> over: "lost"
                          another owner or token, or the deadline is over

A lease lets the worker deliver until its deadline: SAFE_PART of the lease duration after the sending of the last write
that was accepted (R4). A row that was read never moves the deadline, because nobody knows which of the unanswered
writes it shows. After the deadline the lease is lost for good; the worker may take it again, with a new token.

The worker delivers nothing more once it has sent the write that gives the lease away, even if the answer is lost: this
write may still arrive, and then another worker takes the lease at once.

A write that arrives late does no harm. The table accepts it only if nobody has written the row since this worker read
the row. So the row still has this owner and token, or it is the row that this worker wanted to take. The late write
stores a checkpoint that this worker had reached. The worker's next write is rejected, so the worker reads the row and
goes on from there (R6).

The write that gives a lease away also stores the last checkpoint and details.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, RENEWALS_PER_DURATION
from poller.core.positions import rank
from poller.model.lease import Detail, Owner, Row, RowKey
from poller.model.stream import Checkpoint

SAFE_PART = 0.8
"""The part of the lease duration in which the holder may deliver. It allows for clocks that are wrong by a tenth.

The holder's slow clock then measures 0.8 of the duration in 0.8 / 0.9 = 0.89 of it. The next worker's fast clock
measures the whole duration in 1 / 1.1 = 0.91 of it.
"""

LATE_PART = 0.25
"""If less than this part of the time to deliver is left, a renewal is late.

A renewal is due after a third of the lease duration and comes after a half at the latest, which leaves more than this.
"""

End = Literal["given away", "lost"]


class _Write(NamedTuple):
    """A write whose result the worker does not know yet."""

    row: Row
    sent_at: float


class Held:
    """A lease that this worker takes, holds or gives away. At most one write of it is under way at a time.

    `row` is the lease as this worker last knew it in the table. `written_at` is when the worker sent the last write
    that was accepted. Times are on the worker's monotonic clock.
    """

    def __init__(self, row: Row, owner: Owner, *, lease_duration: float = LEASE_DURATION_IN_SECONDS) -> None:
        """Make a lease that is not taken yet. `row` is its row, which this worker may take."""
        self.row = row
        self.owner = owner
        self.token = row.counter + 1
        self.checkpoint = row.checkpoint
        self._rank = None if row.checkpoint is None else rank(row.checkpoint.position)
        self.deadline: float | None = None
        self.written_at = self.renew_at = float("-inf")
        self.is_given = False
        self._lease_duration = lease_duration
        self._details: dict[str, Detail] = {}
        self._write: _Write | None = None
        self._end: End | None = None

    @property
    def key(self) -> RowKey:
        return self.row.key

    @property
    def is_stored(self) -> bool:
        """Return whether the last checkpoint is known to be stored."""
        return self.checkpoint == self.row.checkpoint

    @property
    def is_writing(self) -> bool:
        return self._write is not None

    def end(self, now: float) -> End | None:
        """Return how the worker's hold of the lease ended, or None if it has not ended."""
        if self._end is None and self.deadline is not None and now >= self.deadline:
            self._end = "lost"
        return self._end

    def may_begin(self, now: float) -> bool:
        """Return whether an invocation with records of this shard may begin now (R4)."""
        return self.deadline is not None and not self.is_given and self.end(now) is None

    def is_late(self, now: float) -> bool:
        """Return whether a renewal would be late if the table accepted it now, because the deadline is near."""
        return self.deadline is not None and self.deadline - now < LATE_PART * SAFE_PART * self._lease_duration

    def move(self, checkpoint: Checkpoint) -> None:
        """Set the checkpoint that the next write stores. It may not be behind the previous checkpoint (R5)."""
        assert not self.is_given, f"{self.key} was given away before its records were done"
        assert self._rank is not None, f"{self.key} has no checkpoint"
        its_rank = rank(checkpoint.position)
        assert its_rank >= self._rank, f"the checkpoint of {self.key} moved back"
        self.checkpoint, self._rank = checkpoint, its_rank

    def note(self, details: Mapping[str, Detail]) -> None:
        """Set details that the next write stores. Other details stay as they are."""
        self._details.update(details)

    def take(self, now: float) -> Row:
        """Return the row to write in order to take the lease. It gives the lease a new token (R3)."""
        assert self.deadline is None, f"{self.key} is taken already"
        return self._next_row(self.owner, now, without=("read_since",))  # when the previous owner began to read

    def renewal(self, now: float) -> Row:
        """Return the row to write in order to renew the lease, with the last checkpoint and details."""
        assert not self.is_given, f"{self.key} is being given away"
        return self._next_row(self.owner, now)

    def give_away(self, now: float) -> Row:
        """Return the row to write in order to give the lease away (R7). The worker begins no invocation after this."""
        self.is_given = True
        return self._next_row(None, now)

    def accepted(self, now: float) -> None:
        """Note that the table has accepted the write."""
        write = self._answered()
        if write.row.owner is None:
            self.row, self._end = write.row, "given away"
        elif self.end(now) is None:
            self.row = write.row
            self.written_at = write.sent_at
            self.deadline = write.sent_at + SAFE_PART * self._lease_duration
            self.renew_at = write.sent_at + self._lease_duration / RENEWALS_PER_DURATION

    def found(self, row: Row | None, now: float) -> None:
        """Note the row that the worker has read after a write was rejected or its answer was lost (R6)."""
        self._answered()
        if row is not None and self._is_own(row):
            self.row, self.renew_at = row, now
        else:
            has_no_owner = row is not None and row.owner is None and row.token == self.token
            self._end = "given away" if self.is_given and has_no_owner else "lost"

    def _next_row(self, owner: Owner | None, now: float, *, without: Collection[str] = ()) -> Row:
        assert self._write is None, f"a write of {self.key} is under way"
        assert self.end(now) is None, f"{self.key} is not held any more"
        row = Row(
            key=self.row.key,
            counter=self.row.counter + 1,
            owner=owner,
            token=self.token,
            checkpoint=self.checkpoint,
            details={name: value for name, value in self.row.details.items() if name not in without} | self._details,
        )
        self._write = _Write(row, now)
        return row

    def _answered(self) -> _Write:
        assert self._write is not None, f"no write of {self.key} is under way"
        write, self._write = self._write, None
        return write

    def _is_own(self, row: Row) -> bool:
        """Return whether only this worker has written the row since the take."""
        if (row.owner, row.token) != (self.owner, self.token):
            return False
        if row.checkpoint is None or self.checkpoint is None or self.row.checkpoint is None:
            return row.checkpoint is self.checkpoint
        return (
            rank(self.row.checkpoint.position) <= rank(row.checkpoint.position) <= rank(self.checkpoint.position)
        )  # a person may have stored another one
