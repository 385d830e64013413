"""How is a batch formed?  receive ── filter ── encode ── gather, until it is full or its window is over.

Without a batching window, a batch is what one receive returned.
With one, the window begins with the first record that matches, and further receives wait for what is left of it,
rounded to the whole seconds that SQS knows; a receive that found nothing yet may wait longer than the window.
What a filter keeps out is deleted at once.
Where the 6 MB rule cuts, what does not fit makes another batch, to be delivered after the first.

Source: AWS Lambda Developer Guide, "Batching behavior" and "Using event filtering with an Amazon SQS event source".
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from poller.core import envelope
from poller.core.batching import BatchBuilder
from poller.core.filtering import RecordFilter
from poller.core.scaling import PollScaling
from poller.engine.deleting import Deleter
from poller.engine.in_hand import BatchInHand, MessageInHand
from poller.engine.permits import Permits
from poller.engine.source_health import SourceHealth
from poller.engine.stop import Stop
from poller.engine.visibility import VisibilityKeeper
from poller.errors import ServiceError
from poller.model.mapping import QueueMapping
from poller.model.message import Message
from poller.ports import QueueSource
from poller.telemetry.facts import Record, RecordsFilteredOut, RecordsPolled

MESSAGES_PER_RECEIVE = 10
"""The most that one ReceiveMessage returns (SQS API reference)."""

LONG_POLL_IN_SECONDS = 20
"""How long a mapping's first poll waits: SQS's longest, three receives a minute from an idle queue."""

SHORT_POLL_IN_SECONDS = 1
"""How long a further poll waits: it holds a place at the function, and leaves soon when the backlog is gone."""

SHORTEST_EMPTY_POLL_IN_SECONDS = 0.9
"""A long poll that comes back empty sooner was none, as some emulators have it; the next one waits until then."""


class Gatherer:
    """Forms the batches of one mapping. Every message it returns is in the keeper's care."""

    def __init__(
        self,
        *,
        mapping: QueueMapping,
        source: QueueSource,
        filters: RecordFilter | None,
        keeper: VisibilityKeeper,
        deleter: Deleter,
        permits: Permits,
        scaling: PollScaling,
        health: SourceHealth,
        stop: Stop,
        record: Record,
    ) -> None:
        self._mapping = mapping
        self._window = mapping.maximum_batching_window_in_seconds
        self._source = source
        self._filters = filters
        self._keeper = keeper
        self._deleter = deleter
        self._permits = permits
        self._scaling = scaling
        self._health = health
        self._stop = stop
        self._record = record
        self._receives: set[anyio.CancelScope] = set()

    def cut(self) -> None:
        """End every receive in flight. What one of them may have taken, SQS shows again after its timeout."""
        for receive in self._receives:
            receive.cancel()

    async def gather(self) -> list[BatchInHand]:
        """One batch; more only where the 6 MB rule cuts; none when nothing came that matches, or at a stop."""
        batches: list[BatchInHand] = []
        builder = BatchBuilder(batch_size=self._mapping.batch_size, window_in_seconds=self._window)
        wait = LONG_POLL_IN_SECONDS if self._permits.polls_in_flight == 1 else SHORT_POLL_IN_SECONDS
        while not self._stop.has_begun:
            asked_at = anyio.current_time()
            messages = await self._receive(min(MESSAGES_PER_RECEIVE, builder.room), wait)
            if messages:
                await self._put(messages, asked_at, batches, builder)
            elif messages is not None:
                await self._health.pause(asked_at + SHORTEST_EMPTY_POLL_IN_SECONDS - anyio.current_time())
            if messages is None or not batches or self._window == 0 or builder.is_full or len(batches) > 1:
                break
            assert builder.deadline is not None, "a batch that was opened has a record"
            wait = min(LONG_POLL_IN_SECONDS, round(builder.deadline - anyio.current_time()))
            if wait <= 0:
                break
        if self._stop.has_begun:
            await self._keeper.release(batches, is_fifo=self._mapping.is_fifo)
            return []
        return batches

    async def _receive(self, count: int, wait: int) -> list[Message] | None:
        """None when the source failed, after the pause for it, and when the receive was cut."""
        messages: list[Message] | None = None
        with anyio.CancelScope() as receive:
            self._receives.add(receive)
            try:
                messages = await self._source.receive(
                    count=count,
                    wait_in_seconds=wait,
                    visibility_timeout_in_seconds=self._keeper.timeout_in_seconds,
                )
            except ServiceError as error:
                await self._leave_alone(error)
            finally:
                self._receives.discard(receive)
        if messages is not None:
            self._health.succeeded()
            self._scaling.received(len(messages), asked=count)
            self._record(RecordsPolled(self._mapping.name, len(messages)))
        return messages

    async def _leave_alone(self, error: ServiceError) -> None:
        """The last poll in flight waits out the pause; the others go, and none comes while it waits."""
        self._scaling.failed()
        delay = self._health.failed("ReceiveMessage", error)
        if self._permits.polls_in_flight == 1:
            await self._health.pause(delay)

    async def _put(
        self, messages: Sequence[Message], asked_at: float, batches: list[BatchInHand], builder: BatchBuilder
    ) -> None:
        """Put what matches into the last batch, or a new one where it does not fit; delete the rest."""
        now = anyio.current_time()
        visible_until = asked_at + self._keeper.timeout_in_seconds
        matches = self._filters.matches if self._filters is not None else None
        filtered_out = []
        for message in messages:
            if matches is not None and not matches(message.record):
                filtered_out.append(MessageInHand(message, b"", visible_until))
                continue
            encoded = envelope.encode(message.record)
            fits = builder.add(len(encoded), now=now)
            if not batches or not fits:
                batches.append(self._open_batch())
            if not fits:
                builder = BatchBuilder(batch_size=self._mapping.batch_size)
                builder.add(len(encoded), now=now)
            batches[-1].messages.append(MessageInHand(message, encoded, visible_until))
        if filtered_out:
            self._record(RecordsFilteredOut(self._mapping.name, len(filtered_out)))
            await self._deleter.delete(filtered_out)

    def _open_batch(self) -> BatchInHand:
        batch = BatchInHand()
        self._keeper.take(batch)
        return batch
