"""What does the user of a lease see? A token, a scope that ends with the lease, and a place for the checkpoint.

held ── the deadline passes, or another worker has taken the lease ──> lost, for good
  └──── the user leaves ──> the worker gives the lease away, or another user in this process gets it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import anyio

from poller.core.leases.holding import Held
from poller.engine.leases.rate import Rate
from poller.model.ids import RequestId
from poller.model.lease import Detail, Row, RowKey, time_in
from poller.model.stream import TOO_LATE, Checkpoint, SequenceNumber, ShardId
from poller.ports import MonotonicClock


class Block(NamedTuple):
    """A batch that blocks a lane of a shard. The next user goes on with it, and its earlier attempts count.

    The next user tries the batch at once, without the rest of a pause.

    The batch has `records` records from `first` on. Without records, it is the last invocation of a tumbling window.
    `checksum` is made of their sequence numbers, or None if an older row does not tell.
    `attempts` is the number of attempts so far; all had this request id.
    `since` is when the block began, on this process's MonotonicClock. `began_at` is the same in epoch seconds, or None
    if an older row does not tell.
    """

    first: SequenceNumber | None
    records: int
    attempts: int
    request_id: RequestId
    since: float
    began_at: float | None
    checksum: int | None

    def detail(self, now: float) -> Detail:
        """Return the block as a detail of a row.

        The age is right even if hosts have different clocks. It does not count the time in which the shard had no user,
        for example while the mapping was paused.
        """
        return {
            "first": self.first,
            "records": self.records,
            "attempts": self.attempts,
            "request_id": self.request_id,
            "age_in_seconds": now - self.since,
            "began_at": self.began_at,
            "checksum": self.checksum,
        }

    @classmethod
    def of(cls, detail: Detail, now: float) -> Block | None:
        """Return the block that a row's detail describes, or None."""
        match detail:
            case {
                "first": str() | None as first,
                "records": int(records),
                "attempts": int(attempts),
                "request_id": str(request_id),
                "age_in_seconds": int() | float() as age,
                **others,
            } if records >= 0 and attempts >= 1 and 0 <= age < TOO_LATE:
                number = None if first is None else SequenceNumber(first)
                at = time_in(others.get("began_at"))
                checksum = others.get("checksum")
                known = checksum if isinstance(checksum, int) else None
                return cls(number, records, attempts, RequestId(request_id), now - age, at, known)
        return None


class Left(Protocol):
    """The records in hand that pass from one user to the next while invocations still run (`streams/in_hand.py`)."""

    @property
    def lane_count(self) -> int:
        """Return the number of lanes. Only a user with the same number may have the lease now."""
        ...


class Lease:
    """A lease that one user has, until the user leaves or the worker loses it.

    The user's invocations run within `scope`, and each one carries `token`.
    `blocks` has the block of each blocked lane, by the first record of the batch. The user reads them, and removes
    those that have ended.
    `children` are the shard's children. The user sets them when it has read the last record. From then
    on, no other worker asks for the lease.
    `rate` counts the bytes that the user has delivered.
    `found` is what earlier users have left, if invocations of theirs still run. It is None otherwise.
    """

    def __init__(
        self,
        held: Held,
        *,
        rate: Rate,
        clock: MonotonicClock,
        hurry: Callable[[], None],
        pass_on: Callable[[Left], None] = lambda _: None,
        found: Left | None = None,
    ) -> None:
        self.token = held.token
        self.scope = anyio.CancelScope()
        self.is_wanted_back = anyio.Event()
        """Set when another worker should get the lease: the user finishes what is in hand, and leaves."""
        self.is_lost = False
        self.is_passed_on = False
        """Whether the next user has the lease already, while invocations of this user still run."""
        self.has_later_user = False
        """Whether a user that came later has the lease now, or still has invocations that run."""
        self.found = found
        self.blocks = _blocks_of(held.row, clock)
        self.children: tuple[ShardId, ...] = ()
        self.read_since: float | None = None
        """The time of day at which the user has begun to read, in epoch seconds. The row shows it to a person."""
        self.rate = rate
        self._saved_at: float | None = None
        self._unstored_since: float | None = None
        self._held = held
        self._clock = clock
        self._hurry = hurry
        self._pass_on = pass_on
        self._written: anyio.Event | None = None
        """Set when the worker has written the lease. None while nobody waits for it."""

    @property
    def key(self) -> RowKey:
        return self._held.key

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint: where the previous worker stopped, or what this user has saved since."""
        return self._held.checkpoint

    @property
    def details(self) -> dict[str, Detail]:
        """Return what the row of the lease tells about the shard."""
        now = self._clock.now()
        details: dict[str, Detail] = {"blocked": [block.detail(now) for block in self.blocks.values()]}
        if self.children:
            details["children"] = list(self.children)
        if self.read_since is not None:
            details["read_since"] = self.read_since
        if self._saved_at is not None:
            details["saved_at"] = self._saved_at
        return details

    def may_begin(self) -> bool:
        """Return whether an invocation may begin now."""
        return not self.is_lost and self._held.may_begin(self._clock.now())

    @property
    def seconds_left(self) -> float:
        """Return for how long the user may deliver, if no renewal follows."""
        return -1.0 if self._held.deadline is None else self._held.deadline - self._clock.now()

    @property
    def seconds_unstored(self) -> float:
        """Return for how many seconds the oldest checkpoint has waited to be stored, or 0 if all are stored."""
        return 0.0 if self._unstored_since is None else self._clock.now() - self._unstored_since

    def save(self, checkpoint: Checkpoint, *, at: float) -> None:
        """Let the worker store this checkpoint soon. Only the newest one is stored.

        `at` is the time of day in epoch seconds. The row keeps it, so that a person sees when the checkpoint was saved,
        and so that the row of a drained shard can be deleted later.
        """
        if self.is_lost:
            return
        self._held.move(checkpoint)
        self._saved_at = at
        if self._unstored_since is None:
            self._unstored_since = self._clock.now()

    def block(
        self,
        first: SequenceNumber | None,
        records: int,
        *,
        attempts: int,
        request_id: RequestId,
        at: float,
        checksum: int | None = None,
    ) -> None:
        """Note that a batch blocks a lane. `Block` explains the arguments. `at` is the time of day now."""
        before = self.blocks.get(first)
        since, began_at = (self._clock.now(), at) if before is None else (before.since, before.began_at)
        self.blocks[first] = Block(first, records, attempts, request_id, since, began_at, checksum)

    def blocked_since(self, first: SequenceNumber | None, *, now: float) -> float:
        """Return since when the batch with this first record has blocked its lane, also at earlier workers.

        The time and `now` are the time of day in epoch seconds.
        """
        block = self.blocks.get(first)
        if block is None:
            return now
        began_at = now - (self._clock.now() - block.since) if block.began_at is None else block.began_at
        return min(max(began_at, 0.0), now)

    def leave_behind(self, left: Left) -> None:
        """Let the next user have the lease, although invocations of this user still run.

        If no user comes that can use what is left, the next user gets the lease after this user has left.
        """
        if not (self.is_lost or self.is_passed_on):
            self._pass_on(left)

    def store_soon(self) -> None:
        """Let the worker store the checkpoint now, without waiting for it."""
        if not (self.is_lost or self._held.is_stored):
            self._hurry()

    async def stored(self) -> bool:
        """Let the worker store the checkpoint at once, and wait for it. Return False if the lease is lost first."""
        while not (self.is_lost or self._held.is_stored):
            self._hurry()
            self._written = self._written or anyio.Event()
            await self._written.wait()
        return not self.is_lost

    def lose(self) -> None:
        """Note that the worker has lost the lease."""
        self.is_lost = True
        self.scope.cancel()
        self.written()

    def written(self) -> None:
        """Note that the worker has written the lease."""
        if self._held.is_stored:
            self._unstored_since = None
        elif self._unstored_since is not None:
            self._unstored_since = max(self._unstored_since, self._held.written_at)
        if self._written is not None:
            self._written.set()
            self._written = None


def _blocks_of(row: Row, clock: MonotonicClock) -> dict[SequenceNumber | None, Block]:
    details = row.details.get("blocked")
    if not (details and isinstance(details, list)):
        return {}
    blocks = [Block.of(detail, clock.now()) for detail in details]
    return {block.first: block for block in blocks if block is not None}
