"""How is a batch formed?  receive ── filter ── encode ── gather, until the batch is full or its window is over.

Without a batching window, a batch has the messages of one receive.
A batching window begins with the first message that matches the filter.  Each further receive waits for the rest of the
window, rounded to whole seconds for SQS.  Before the window begins, a receive may wait longer than the window.
A message that does not match is deleted at once.
Messages that do not fit into one event form another batch, which is delivered after the first one.

Source: AWS Lambda Developer Guide, "Batching behavior" and "Using event filtering with an Amazon SQS event source".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import anyio

from poller.core import envelope
from poller.core.backoff import HASTY
from poller.core.batching import BatchBuilder
from poller.core.event_limit import EventLimit
from poller.core.filtering import RecordFilter
from poller.core.queues.delivery import Delivery
from poller.core.queues.in_hand import MessageInHand, Receive
from poller.core.queues.ordering import without_gaps
from poller.core.queues.scaling import PollScaling
from poller.engine.queues.finishing import Finisher
from poller.engine.queues.permits import Permits
from poller.engine.queues.releasing import Releaser
from poller.engine.queues.visibility import VisibilityKeeper
from poller.engine.source_health import SourceHealth
from poller.engine.source_pauses import SourcePauses
from poller.engine.stop import Stop
from poller.errors import Rejected, ServiceError
from poller.facts import Emit, MessagesReceived, RecordsFilteredOut
from poller.model.ids import RequestId
from poller.model.mapping import QueueMapping
from poller.model.message import Message
from poller.ports import QueueSource

MESSAGES_PER_RECEIVE = 10
"""The most that one ReceiveMessage returns (SQS API reference)."""

LONG_POLL_IN_SECONDS = 20
"""How long a poll waits if the mapping has no other: as long as SQS allows, so an idle queue costs 3 receives a minute.

The poll is shorter if the visibility timeout is short: a message that comes late must certainly be hidden.
"""

SHORT_POLL_IN_SECONDS = 1
"""How long each further poll waits: it takes up room of the function, so it ends soon after the backlog is gone."""

MESSAGES = "messages of ReceiveMessage"
"""The name under which defective messages count as a trouble of the source, although its calls succeed."""

SHORTEST_EMPTY_POLL_IN_SECONDS = 0.9
"""If an empty answer comes sooner than this, the poll was no long poll.

Some emulators have no long polls; others end all polls when one message arrives.
"""


class Gatherer:
    """Forms the batches of one mapping. The keeper hides every message that is in hand."""

    def __init__(
        self,
        *,
        mapping: QueueMapping,
        source: QueueSource,
        filters: RecordFilter | None,
        keeper: VisibilityKeeper,
        finisher: Finisher,
        releaser: Releaser,
        permits: Permits,
        event_limit: EventLimit,
        scaling: PollScaling,
        health: SourceHealth,
        pauses: SourcePauses,
        stop: Stop,
        emit: Emit,
        randomness: random.Random,
        new_request_id: Callable[[], RequestId],
    ) -> None:
        self._mapping = mapping
        self._window = mapping.maximum_batching_window_in_seconds
        self._source = source
        self._filters = filters
        self._keeper = keeper
        self._finisher = finisher
        self._releaser = releaser
        self._permits = permits
        self._event_limit = event_limit
        self._scaling = scaling
        self._health = health
        self._pauses = pauses
        self._stop = stop
        self._emit = emit
        self._randomness = randomness
        self._new_request_id = new_request_id
        self._calls: set[anyio.CancelScope] = set()
        self._hasty_polls = 0
        self._defective_until: float | None = None  # when defective messages are hidden no longer

    def cut(self) -> None:
        """Cancel every receive and every delete in flight.

        SQS may have hidden messages for a cancelled receive; it shows them again after their visibility timeout.
        """
        for call in self._calls:
            call.cancel()

    async def gather(self) -> Delivery | None:
        """Poll, and return a delivery with one batch, or with several if the records do not fit into one event.

        Returns None if no message came or matched the filter, if the source failed, or if the stop has begun.
        If it crashes, it shows at once what it has gathered.
        """
        delivery = Delivery(new_request_id=self._new_request_id, randomness=self._randomness)
        try:
            await self._gather_into(delivery)
        except Exception:
            await self._releaser.release([delivery])
            raise
        if self._stop.has_begun:
            await self._releaser.release([delivery])
            return None
        if not delivery.batch_count:
            self._keeper.drop(delivery)
            return None
        return delivery

    async def _gather_into(self, delivery: Delivery) -> None:
        """Poll and put the messages into the delivery, until the batch is full or its window is over."""
        builder = self._builder(anyio.current_time())
        wait = self._longest_poll() if self._permits.polls_in_flight == 1 else SHORT_POLL_IN_SECONDS
        while not self._stop.has_begun:
            asked_at = anyio.current_time()
            timeout, queue_timeout = self._keeper.timeout_in_seconds, self._keeper.queue_timeout_in_seconds
            messages = await self._receive(
                min(MESSAGES_PER_RECEIVE, builder.room),
                wait,
                timeout,
                asked_at=asked_at,
                may_pause=not delivery.batch_count,
            )
            if messages:
                receive = Receive(asked_at, anyio.current_time(), timeout, queue_timeout)
                if not delivery.batch_count:
                    builder = self._builder(receive.answered_at)  # the event limit may have become smaller meanwhile
                await self._put(messages, receive, delivery, builder)
            elif messages is not None and (delivery.batch_count or self._permits.polls_in_flight == 1):
                await self._slow_down(anyio.current_time() - asked_at)
            if messages is None or builder.deadline is None or self._window == 0 or builder.is_full:
                break
            if delivery.batch_count > 1:
                break
            wait = min(self._longest_poll(), round(builder.deadline - anyio.current_time()))
            if wait <= 0:
                break

    def _builder(self, now: float) -> BatchBuilder:
        return BatchBuilder(
            batch_size=self._mapping.batch_size,
            window_in_seconds=self._window,
            limit_in_bytes=self._event_limit.in_bytes(now),
        )

    async def _slow_down(self, waited: float) -> None:
        """Pause after an empty answer that came too soon. The pause is longer after each such answer in a row.

        Further polls do not pause but end, because during a pause they would take up room that other mappings can use.
        """
        if waited >= SHORTEST_EMPTY_POLL_IN_SECONDS:
            self._hasty_polls = 0
            return
        self._hasty_polls += 1
        await self._stop.sleep(HASTY.delay(self._hasty_polls, self._randomness))

    def _longest_poll(self) -> int:
        """Return the longest wait of a poll in seconds: two thirds of the visibility timeout, within 1 to 20.

        SQS may hide a message from the beginning of the poll on, so the timeout must outlast the poll.
        """
        return min(LONG_POLL_IN_SECONDS, max(SHORT_POLL_IN_SECONDS, self._keeper.timeout_in_seconds * 2 // 3))

    async def _receive(
        self, count: int, wait: int, timeout: int, *, asked_at: float, may_pause: bool
    ) -> list[Message] | None:
        """Receive once. Return None if the source failed, or if a stop cancelled the receive.

        After a failure the only poll pauses; further polls end instead.
        """
        messages: list[Message] | None = None
        with self._cut_at_a_stop():
            try:
                messages = await self._source.receive(
                    count=count, wait_in_seconds=wait, visibility_timeout_in_seconds=timeout
                )
            except ServiceError as error:
                self._scaling.failed()
                delay = self._pauses.after_failure(error, asked_at=asked_at)
                self._health.failed("ReceiveMessage", error, retry_in=delay)
                if may_pause and self._permits.polls_in_flight == 1:
                    await self._stop.sleep(delay)  # no other poll begins during this pause
        if messages is not None:
            self._health.succeeded("ReceiveMessage")
            self._pauses.succeeded()
            self._scaling.received(len(messages), asked=count)
            if messages:
                self._hasty_polls = 0
            if self._defective_until is not None:
                self._end_defects(self._defective_until, messages, asked_at)
            self._emit(MessagesReceived(self._mapping.name, len(messages)))
        return messages

    def _end_defects(self, until: float, messages: Sequence[Message], asked_at: float) -> None:
        """End the trouble of defective messages if this receive shows that they have gone.

        An empty receive shows this only if it began after the time for which they were hidden.
        """
        if not any(message.defect for message in messages) if messages else asked_at >= until:
            self._defective_until = None
            self._health.succeeded(MESSAGES)

    @contextmanager
    def _cut_at_a_stop(self) -> Iterator[None]:
        with anyio.CancelScope() as scope:
            if self._stop.has_begun:
                scope.cancel()
            self._calls.add(scope)
            try:
                yield
            finally:
                self._calls.discard(scope)

    async def _put(
        self, messages: Sequence[Message], receive: Receive, delivery: Delivery, builder: BatchBuilder
    ) -> None:
        """Put the messages that match into the last batch, or into a new one if they do not fit; delete the others.

        Defective messages are set aside: they are not invoked, and the queue shows them again.
        """
        self._keeper.take(delivery)
        try:
            batches, filtered_out, defective = self._sorted(messages, receive, builder)
        except Exception:  # the delivery must know all messages, so that the queue shows them at once
            known = [MessageInHand(message, b"", receive) for message in messages if message.receipt_handle]
            delivery.put(known, begins_batch=False)
            raise
        for number, batch in enumerate(batches):
            delivery.put(batch, begins_batch=number > 0)
        if defective:
            delivery.set_aside(defective)
        if filtered_out:
            self._emit(RecordsFilteredOut(self._mapping.name, len(filtered_out)))
            await self._delete(filtered_out, delivery)

    def _sorted(
        self, messages: Sequence[Message], receive: Receive, builder: BatchBuilder
    ) -> tuple[list[list[MessageInHand]], list[MessageInHand], list[MessageInHand]]:
        """Return the batches, the messages that do not match, and those to set aside. The first batch goes on."""
        defective: list[MessageInHand] = []
        if any(message.defect for message in messages):
            messages, defective = self._set_aside(messages, receive)
        matches = self._filters.matches if self._filters is not None else None
        filtered_out: list[MessageInHand] = []
        batches: list[list[MessageInHand]] = [[]]
        for message in messages:
            if matches is not None and not matches(message.record):
                filtered_out.append(MessageInHand(message, b"", receive))
                continue
            encoded = envelope.encode(message.record)
            if not builder.add(len(encoded), now=receive.answered_at):
                batches.append([])
                builder = self._builder(receive.answered_at)
                builder.add(len(encoded), now=receive.answered_at)
            batches[-1].append(MessageInHand(message, encoded, receive))
        return batches, filtered_out, defective

    def _set_aside(
        self, messages: Sequence[Message], receive: Receive
    ) -> tuple[Sequence[Message], list[MessageInHand]]:
        """Return the messages to invoke, and those to show again.

        The second list has the defective messages and the later messages of their groups.
        """
        sound = without_gaps(
            messages,
            is_lost=lambda message: message.defect is not None,
            group_of=lambda message: message.message_group_id,
        )
        ids = {id(message) for message in sound}
        aside = [message for message in messages if id(message) not in ids]
        defects = dict.fromkeys(message.defect for message in aside if message.defect)
        text = (
            f"{len(aside)} of {len(messages)} messages cannot be delivered and are received again: {'; '.join(defects)}"
        )
        self._defective_until = receive.answered_at + receive.timeout_in_seconds
        error = Rejected(text, code="UnusableMessage")
        self._health.background_failure(MESSAGES, error, retry_in=receive.queue_timeout_in_seconds)
        return sound, [MessageInHand(message, b"", receive) for message in aside if message.receipt_handle]

    async def _delete(self, filtered_out: list[MessageInHand], delivery: Delivery) -> None:
        """Delete messages that do not match the filter. They stay hidden until they are deleted.

        If there is a batch, try once only; messages that are left are deleted together with the batch.
        A stop cancels the delete, and the releaser repeats it.
        """
        delivery.filter_out(filtered_out)
        with self._cut_at_a_stop():
            if delivery.batch_count:
                left = await self._finisher.try_delete(filtered_out)
            else:
                await self._finisher.delete(filtered_out)
                left = []
            delivery.filtered_out_are_deleted(filtered_out, but=left)
