"""What does the user of a lease see? A token, a scope that ends with the lease, and a place for the checkpoint.

held ── the deadline passes, or another worker has taken the lease ──> lost, for good
  └──── the user leaves ──> the worker gives the lease away, or another user in this process gets it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import anyio

from poller.core.leases.holding import Held
from poller.engine.leases.rate import Rate
from poller.model.ids import RequestId
from poller.model.lease import Detail, RowKey
from poller.model.stream import Checkpoint, ShardId
from poller.ports import MonotonicClock


class Block(NamedTuple):
    """A batch that blocks a shard. The next worker of the shard goes on with it, so that the limits of retries hold.

    `attempts` have been made with this request id. `since` is the time on this process's MonotonicClock.
    """

    attempts: int
    request_id: RequestId
    since: float

    def detail(self, now: float) -> Detail:
        """Return the block as a detail of a row. It has the age of the block, because no two clocks are compared."""
        return {"attempts": self.attempts, "request_id": self.request_id, "age_in_seconds": now - self.since}

    @classmethod
    def of(cls, detail: Detail, now: float) -> Block | None:
        """Return the block that a row's detail describes, or None."""
        match detail:
            case {"attempts": int(attempts), "request_id": str(request_id), "age_in_seconds": int() | float() as age}:
                return cls(attempts, RequestId(request_id), now - age)
        return None


class Lease:
    """A lease that one user has, until the user leaves or the worker loses it.

    The user's invocations run within `scope`, and each one carries `token`.
    `block` is the block of the shard; the user reads it, and sets it.
    `children` are the shard's children. The user sets them when it has read the last record, and the lease then stays.
    `rate` counts the bytes that the user has delivered.
    """

    def __init__(self, held: Held, *, rate: Rate, clock: MonotonicClock, hurry: Callable[[], None]) -> None:
        self.token = held.token
        self.scope = anyio.CancelScope()
        self.is_wanted_back = anyio.Event()
        """Set when another worker should get the lease: the user finishes what is in hand, and leaves."""
        self.is_lost = False
        self.block = Block.of(held.row.details.get("blocked"), clock.now())
        self.children: tuple[ShardId, ...] = ()
        self.rate = rate
        self._held = held
        self._clock = clock
        self._hurry = hurry
        self._changed = anyio.Event()

    @property
    def key(self) -> RowKey:
        return self._held.key

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint: where the worker before has stopped, or what this user has saved since."""
        return self._held.checkpoint

    @property
    def details(self) -> dict[str, Detail]:
        """Return what the row of the lease tells about the shard."""
        block = None if self.block is None else self.block.detail(self._clock.now())
        return {"blocked": block} | ({"children": list(self.children)} if self.children else {})

    def may_begin(self) -> bool:
        """Return whether an invocation may begin now."""
        return not self.is_lost and self._held.may_begin(self._clock.now())

    @property
    def seconds_left(self) -> float:
        """Return for how long the user may deliver, if no renewal follows."""
        return -1.0 if self._held.deadline is None else self._held.deadline - self._clock.now()

    def save(self, checkpoint: Checkpoint) -> None:
        """Let the worker store this checkpoint soon. Only the newest one is stored."""
        if not self.is_lost:
            self._held.move(checkpoint)

    async def stored(self) -> bool:
        """Let the worker store the checkpoint at once, and wait for it. Return False if the lease is lost before."""
        while not (self.is_lost or self._held.is_stored):
            self._hurry()
            await self._changed.wait()
        return not self.is_lost

    def lose(self) -> None:
        """Note that the worker has lost the lease."""
        self.is_lost = True
        self.scope.cancel()
        self.written()

    def written(self) -> None:
        """Note that the worker has written the lease."""
        self._changed.set()
        self._changed = anyio.Event()
