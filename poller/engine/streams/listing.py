"""Which shards does the stream have now?  A loop: list ── compare ── create rows ── change the lineage.

    every 20 seconds      list all shards to find new ones; if a listing takes long, the pause is longer
    a shard is drained    if its children are unknown, ask for its children at once
    the stream has ended  all shards are drained, or the stream takes no records: report a trouble, list once a minute
    a shard is not found  list at once: this tells whether only the shard or the whole stream is missing

The rows in the table of leases change first, and the lineage (core/streams/lineage.py) changes after them.
Each worker lists the stream for itself. Whoever is first creates the row of a new shard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from math import inf

import anyio

from poller.core.streams.lineage import Lineage, drained_ancestors
from poller.core.streams.stream_end import why_nothing_comes
from poller.engine.source_health import SourceHealth
from poller.engine.source_pauses import SourcePauses
from poller.engine.streams.rows import ShardRows, drained_at, unlisted_parents
from poller.errors import Rejected, ServiceError
from poller.model.arn import Arn
from poller.model.lease import Row
from poller.model.stream import Position, Shard, ShardEnd, ShardId, TrimHorizon
from poller.ports import Clock, StreamSource

LIST_AGAIN_IN_SECONDS = 20.0
"""The time between two listings of all shards. A new shard is found sooner if its parent is drained.

For this time after a shard was drained, a listing may still show the shard as open.
"""

LIST_ENDED_AGAIN_IN_SECONDS = 60.0
"""The time between two listings of a stream that takes no new records. Each of these listings reports the trouble."""

PAUSE_PER_LISTING = 4.0
"""The pause after a listing is at least this many times as long as the listing.

All mappings of an account share one rate limit of DescribeStream."""

PARENTS_ASKED_FOR = 10
"""If more shards than this are drained at once, all shards are listed, because that takes fewer calls."""


class Listings:
    """The listings of one stream for one mapping. `lineage` is set by `begin`."""

    lineage: Lineage

    def __init__(
        self,
        *,
        source: StreamSource,
        rows: ShardRows,
        arn: Arn,
        health: SourceHealth,
        pauses: SourcePauses,
        clock: Clock,
    ) -> None:
        self._source = source
        self._rows = rows
        self._of_kcl: Mapping[ShardId, Row] = {}
        self._arn = arn
        self._operation = source.limits.listing_operation
        self._health = health
        self._pauses = pauses
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
        """Set when more shards may be readable. The task that has waited for this event replaces it with a new one."""

    async def begin(self, lineage: Lineage, shards: list[Shard], *, of_kcl: Mapping[ShardId, Row]) -> None:
        """Use this first listing. Raises Rejected if the stream was deleted and created again.

        `of_kcl` are the rows that a table of KCL had before this run. KCL deletes the rows of drained shards, so a
        closed ancestor of these shards without a row is drained. This does not hold if the row says that a listing has
        lacked the ancestor, nor for the ancestors of a shard that this run finds.
        """
        self.lineage, self._of_kcl = lineage, of_kcl
        self._check_same_stream(shards, asked_at=anyio.current_time())
        await self._take_in(shards)
        self._list_at = anyio.current_time() + LIST_AGAIN_IN_SECONDS

    def report_end(self) -> bool:
        """Return whether the last listing shows that the stream takes no new records. If so, report a trouble."""
        is_drained = self.lineage.is_drained(before=self._clock.now() - LIST_AGAIN_IN_SECONDS)
        reason = why_nothing_comes(self._arn, self._source.status, is_drained=is_drained)
        if reason is None:
            self._health.succeeded(self._operation)
        else:
            error = Rejected(reason, code="StreamEnded")
            self._health.background_failure(self._operation, error, retry_in=LIST_ENDED_AGAIN_IN_SECONDS)
        return reason is not None

    async def run(self) -> None:
        """List the shards regularly, and find the children of drained shards, until cancelled."""
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
        """List all shards once. After a failure, report it and pause."""
        asked_at = anyio.current_time()
        self._list_at = inf
        try:
            shards = await self._source.shards()
            took = anyio.current_time() - asked_at
            self._check_same_stream(shards, asked_at=asked_at)
            await self._take_in(shards)
        except ServiceError as error:
            self._end(asked_at, ())
            delay = self._pauses.after_failure(error, asked_at=asked_at)
            self._health.failed(self._operation, error, retry_in=delay)
            await anyio.sleep(delay)
            self._list_at = anyio.current_time()
            return
        self._pauses.succeeded()
        pause = LIST_ENDED_AGAIN_IN_SECONDS if self.report_end() else LIST_AGAIN_IN_SECONDS
        self._end(asked_at, [shard.shard_id for shard in shards])
        self._list_by(max(asked_at + pause, anyio.current_time() + PAUSE_PER_LISTING * took))

    def drained(self, shard_id: ShardId) -> None:
        """Allow the children of this shard to be read. Call this when the table has the end of the shard."""
        if not self.lineage.drained(shard_id, now=self._clock.now()):
            self._childless.append(shard_id)
            self._childless_came.set()
        self.changed.set()

    async def has_left(self, shard_id: ShardId) -> bool:
        """List the shards, and return whether the stream has other shards but not this one.

        Return False if the listing fails.
        """
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
        """Ask for the children of one shard. If this fails, list all shards, which also reports failures."""
        try:
            shards = await self._source.children(parent)
            if not self.lineage.knows_parents_of(shards):  # a merge: the other parent may be a new shard
                self._list_by(anyio.current_time())
                return
            await self._take_in(shards, is_complete=False)
        except ServiceError:
            self._list_by(anyio.current_time())
        else:
            if all(parent not in shard.parent_ids for shard in shards):  # the service may show a child late
                self._list_by(anyio.current_time() + LIST_AGAIN_IN_SECONDS)

    def _list_by(self, moment: float) -> None:
        """Plan a listing of all shards for this moment. If an earlier listing is planned already, do nothing."""
        self._list_at = min(self._list_at, moment)
        self._hurried.set()

    def _end(self, asked_at: float, shard_ids: Collection[ShardId]) -> None:
        self._asked_at, self._shard_ids = asked_at, frozenset(shard_ids)
        self._ended.set()
        self._ended = anyio.Event()

    async def _take_in(self, shards: list[Shard], *, is_complete: bool = True) -> None:
        """Create and delete the rows that a listing asks for, and then change the lineage.

        A lock keeps two listings from finding the same shard.
        """
        async with self._taking_in:
            now = self._clock.now()
            listing = self.lineage.compared(shards, now=now, is_complete=is_complete)
            found = [shard for shard_id, shard in listing.shards.items() if shard_id in listing.found]
            positions: dict[ShardId, Position] = dict.fromkeys(listing.found, TrimHorizon())
            if self._of_kcl:  # without KCL, a parent has a row before its children have one
                unlisted = unlisted_parents(self._of_kcl.values())
                drained = drained_ancestors(shards, self._of_kcl.keys(), unlisted=unlisted)
                positions |= dict.fromkeys(drained, ShardEnd())
            known = self.lineage.known | listing.shards.keys()
            rows = await self._rows.create(found, positions, at=now, known=known)
            await self._rows.delete(sorted(listing.gone))
            self.lineage.take_in(listing, drained_at(rows, now=now))
        self.changed.set()

    def _check_same_stream(self, shards: list[Shard], *, asked_at: float) -> None:
        """Raise Rejected if the stream was deleted and created again: the stored positions belong to the old stream."""
        seconds_ago = anyio.current_time() - asked_at
        settled = self._clock.now() - seconds_ago - LIST_AGAIN_IN_SECONDS
        if reopened := self.lineage.reopened(shards, drained_before=settled):
            raise Rejected(
                f"{reopened[0]} is open, but stored as ended: was the stream deleted and created again? "
                "Then set new positions with `poller state set`",
                code="AnotherStream",
            )
