"""Which shards does the stream have now?  list ── compare (core/lineage.py) ── store ── take in, again and again.

    every 20 seconds      a shard that was made is found; a large listing, which takes long, is made less often
    a shard is drained    at once, if its children are unknown: they alone are asked for
    all are drained       and none has a child, or the service says that the stream was switched off: that is told
    a shard is not found  at once: only a listing tells whether the shard has left, or the whole stream is missing

What a listing changes is stored before it is taken in, however often the store has to be asked.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from math import inf

import anyio

from poller.core.lineage import Lineage
from poller.core.stream_end import why_nothing_comes
from poller.engine.source_health import SourceHealth
from poller.errors import Rejected, ServiceError
from poller.model.arn import Arn
from poller.model.stream import Checkpoint, Shard, ShardId, StateKey
from poller.ports import Clock, StateStore, StreamSource

LIST_AGAIN_IN_SECONDS = 20.0
"""How long a shard that came into being may stay unknown; its parent's end makes us look sooner.

A listing may show a shard as open that was drained less than so long ago."""

LIST_ENDED_AGAIN_IN_SECONDS = 60.0
"""How often a stream is listed, and that is said, into which nothing new can come."""

PAUSE_PER_LISTING = 4.0
"""The pause after a listing is at least so many times as long as the listing took: DescribeStream is limited for the
whole account, and others have to list too."""

PARENTS_ASKED_FOR = 10
"""Above so many drained shards whose children are unknown, a whole listing costs less than one call for each."""


class Listings:
    """The listings of one stream for one mapping. `lineage` is not known before `begin`."""

    lineage: Lineage

    def __init__(
        self,
        *,
        source: StreamSource,
        store: StateStore,
        key: StateKey,
        arn: Arn,
        operation: str,
        health: SourceHealth,
        clock: Clock,
    ) -> None:
        self._source = source
        self._store = store
        self._key = key
        self._arn = arn
        self._operation = operation
        self._health = health
        self._clock = clock
        self._list_at = inf
        self._childless: deque[ShardId] = deque()
        self._childless_came = anyio.Event()
        self._taking_in = anyio.Lock()
        self._hurried = anyio.Event()
        self._shard_ids: Collection[ShardId] = ()
        self._asked_at = -inf
        self._ended = anyio.Event()
        self.changed = anyio.Event()
        """Set when shards may have become free; who waits for it replaces it."""

    async def begin(self, lineage: Lineage, shards: list[Shard]) -> None:
        """Take in the first listing. Raises Rejected where the stream is another one."""
        self.lineage = lineage
        self._check_same_stream(shards, asked_at=anyio.current_time())
        await self._take_in(shards)
        self._list_at = anyio.current_time() + LIST_AGAIN_IN_SECONDS

    def tell_end(self) -> bool:
        """Say so where nothing new can come into the stream, by the last listing: that is a trouble of the source."""
        is_drained = self.lineage.is_drained(before=self._clock.now() - LIST_AGAIN_IN_SECONDS)
        reason = why_nothing_comes(self._arn, self._source.status, is_drained=is_drained)
        if reason is None:
            self._health.succeeded(self._operation)
        else:
            error = Rejected(reason, code="StreamEnded")
            self._health.failed_beside(self._operation, error, retry_in=LIST_ENDED_AGAIN_IN_SECONDS)
        return reason is not None

    async def run(self) -> None:
        """List again and again, and ask for children, until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._list_again_and_again)
            group.start_soon(self._find_children)

    async def _list_again_and_again(self) -> None:
        while True:
            while (seconds := self._list_at - anyio.current_time()) > 0:
                self._hurried = anyio.Event()
                with anyio.move_on_after(seconds):
                    await self._hurried.wait()
            await self.run_once()

    async def run_once(self) -> None:
        """One whole listing; a failed one is told, and followed by a pause."""
        asked_at = anyio.current_time()
        self._list_at = inf
        try:
            shards = await self._source.shards()
            took = anyio.current_time() - asked_at
            self._check_same_stream(shards, asked_at=asked_at)
            await self._take_in(shards)
        except ServiceError as error:
            self._end(asked_at, ())
            await self._health.pause(self._health.failed(self._operation, error, asked_at=asked_at))
            self._list_at = anyio.current_time()
            return
        pause = LIST_ENDED_AGAIN_IN_SECONDS if self.tell_end() else LIST_AGAIN_IN_SECONDS
        self._end(asked_at, [shard.shard_id for shard in shards])
        self._list_by(max(asked_at + pause, anyio.current_time() + PAUSE_PER_LISTING * took))

    def drained(self, shard_id: ShardId) -> None:
        """All of this shard is done, and that is stored: its children may be read."""
        if not self.lineage.drained(shard_id, now=self._clock.now()):
            self._childless.append(shard_id)
            self._childless_came.set()
        self.changed.set()

    async def has_left(self, shard_id: ShardId) -> bool:
        """Whether the stream is there, and this shard is not: a listing that begins after this call tells."""
        called_at = anyio.current_time()
        self._list_by(called_at)
        while self._asked_at < called_at:
            await self._ended.wait()
        return bool(self._shard_ids) and shard_id not in self._shard_ids

    async def _find_children(self) -> None:
        while True:
            await self._childless_came.wait()
            self._childless_came = anyio.Event()
            while self._childless:
                if len(self._childless) > PARENTS_ASKED_FOR:
                    self._childless.clear()
                    self._list_by(anyio.current_time())
                    break
                await self._find_children_of(self._childless.popleft())

    async def _find_children_of(self, parent: ShardId) -> None:
        """Where that fails, a whole listing does the same, says what is wrong, and is tried until it succeeds."""
        try:
            shards = await self._source.children(parent)
            if not self.lineage.knows_parents_of(shards):  # a merge with a shard that was made since the last listing
                self._list_by(anyio.current_time())
                return
            await self._take_in(shards, is_complete=False)
        except ServiceError:
            self._list_by(anyio.current_time())
        else:
            if all(parent not in shard.parent_ids for shard in shards):  # it may be told late
                self._list_by(anyio.current_time() + LIST_AGAIN_IN_SECONDS)

    def _list_by(self, moment: float) -> None:
        """Make the next whole listing then, or sooner if that was planned."""
        self._list_at = min(self._list_at, moment)
        self._hurried.set()

    def _end(self, asked_at: float, shard_ids: Collection[ShardId]) -> None:
        self._asked_at, self._shard_ids = asked_at, frozenset(shard_ids)
        self._ended.set()
        self._ended = anyio.Event()

    async def _take_in(self, shards: list[Shard], *, is_complete: bool = True) -> None:
        """One at a time: what one has found is known to the next, and is not stored again."""
        async with self._taking_in:
            listing = self.lineage.compared(shards, now=self._clock.now(), is_complete=is_complete)
            if listing.found:
                checkpoints = {shard_id: Checkpoint(position) for shard_id, position in listing.found.items()}
                await self._store.save(self._key, checkpoints)
            if listing.gone:
                await self._store.forget(self._key, listing.gone)
            self.lineage.take_in(listing)
        self.changed.set()

    def _check_same_stream(self, shards: list[Shard], *, asked_at: float) -> None:
        """Raises Rejected where going on would leave out records: a Kinesis stream made anew has the same ARN."""
        seconds_ago = anyio.current_time() - asked_at
        settled = self._clock.now() - seconds_ago - LIST_AGAIN_IN_SECONDS
        if reopened := self.lineage.reopened(shards, drained_before=settled):
            raise Rejected(
                f"{reopened[0]} takes records, and was drained before: was the stream deleted and made anew? "
                "Then its positions have to be moved: `poller state set`",
                code="AnotherStream",
            )
