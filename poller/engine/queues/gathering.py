"""How is a batch formed?  receive ── filter ── encode ── gather, until the batch is full or its window is over.

Without a batching window, a batch has the messages of one receive.
A batching window begins with the first message that matches the filter. Each later receive waits until the end of the
window, rounded to whole seconds for SQS. The receives before the window may wait longer than the window.
A message that does not match the filter is deleted at once.
Messages that do not fit into one event form a second batch, which is delivered after the first one.

Source: AWS Lambda Developer Guide, "Batching behavior" and "Using event filtering with an Amazon SQS event source".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import anyio

from poller.core import envelope
from poller.core.backoff import Backoff
from poller.core.batching import BatchBuilder
from poller.core.event_limit import EventLimit
from poller.core.filtering import RecordFilter
from poller.core.queues.delivery import Delivery
from poller.core.queues.in_hand import MessageInHand, Receive
from poller.core.queues.ordering import without_gaps
from poller.engine.queues.finishing import Finisher
from poller.engine.queues.receiving import Receiver
from poller.engine.queues.releasing import Releaser
from poller.engine.queues.visibility import VisibilityKeeper
from poller.engine.stop import Stop
from poller.facts import Emit, RecordsFilteredOut
from poller.model.ids import RequestId
from poller.model.mapping import QueueMapping
from poller.model.message import Message


class Gatherer:
    """Receives messages and forms the batches of one mapping.

    It tells the visibility keeper which messages are in hand.
    """

    def __init__(
        self,
        *,
        mapping: QueueMapping,
        receiver: Receiver,
        filters: RecordFilter | None,
        keeper: VisibilityKeeper,
        finisher: Finisher,
        releaser: Releaser,
        event_limit: EventLimit,
        stop: Stop,
        emit: Emit,
        randomness: random.Random,
        new_request_id: Callable[[], RequestId],
    ) -> None:
        self._mapping = mapping
        self._window = mapping.maximum_batching_window_in_seconds
        self._redelivery_backoff = _redelivery_backoff(mapping)
        self._receiver = receiver
        self._filters = filters
        self._keeper = keeper
        self._finisher = finisher
        self._releaser = releaser
        self._event_limit = event_limit
        self._stop = stop
        self._emit = emit
        self._randomness = randomness
        self._new_request_id = new_request_id

    async def gather(self) -> Delivery | None:
        """Poll, and return a delivery with one batch, or with several batches if one event cannot hold the records.

        Returns None if no message came, if no message matched the filter, if the source failed, or if the stop has
        begun.
        If an unexpected exception is raised, the gathered messages first become visible again.
        """
        delivery = Delivery(
            new_request_id=self._new_request_id,
            randomness=self._randomness,
            redelivery_backoff=self._redelivery_backoff,
        )
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
        """Poll and add messages to the delivery, until the batch is full or its batching window is over."""
        builder = self._builder(anyio.current_time())
        wait = self._receiver.first_wait_in_seconds
        while not self._stop.has_begun:
            has_batch = bool(delivery.batch_count)
            received = await self._receiver.receive(room=builder.room, wait_in_seconds=wait, has_batch=has_batch)
            if received is None:
                break
            messages, receive = received
            if messages:
                if not has_batch:
                    builder = self._builder(receive.answered_at)  # the size limit of events may have become smaller
                await self._put(messages, receive, delivery, builder)
            if builder.deadline is None or self._window == 0 or builder.is_full or delivery.batch_count > 1:
                break
            wait = min(self._receiver.longest_wait_in_seconds, round(builder.deadline - anyio.current_time()))
            if wait <= 0:
                break

    def _builder(self, now: float) -> BatchBuilder:
        return BatchBuilder(
            batch_size=self._mapping.batch_size,
            window_in_seconds=self._window,
            limit_in_bytes=self._event_limit.in_bytes(now),
        )

    async def _put(
        self, messages: Sequence[Message], receive: Receive, delivery: Delivery, builder: BatchBuilder
    ) -> None:
        """Add the messages that match the filter to the last batch, or to a new one if they do not fit.

        Delete the messages that do not match.

        The function is not invoked with defective messages. The queue makes them visible again later.
        """
        self._keeper.take(delivery)
        try:
            batches, filtered_out, defective = self._sorted(messages, receive, builder)
        except Exception:  # add all messages, so that all of them are returned to the queue
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
        """Return the batches, the messages that do not match the filter, and the messages to keep out of a batch.

        The first batch continues the batch that is open.
        """
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
        """Return the messages for the function, and the messages that must become visible again.

        The second list has the defective messages, and all later messages of their message groups.
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
        self._receiver.defects_found(text, receive)
        return sound, [MessageInHand(message, b"", receive) for message in aside if message.receipt_handle]

    async def _delete(self, filtered_out: list[MessageInHand], delivery: Delivery) -> None:
        """Delete messages that do not match the filter. They stay hidden until they are deleted.

        If the delivery has a batch, try only once: what fails is deleted later, together with the batch.
        A stop cancels the delete. Then the releaser deletes the messages.
        """
        delivery.filter_out(filtered_out)
        with self._receiver.cut_at_a_stop():
            if delivery.batch_count:
                left = await self._finisher.try_delete(filtered_out)
            else:
                await self._finisher.delete(filtered_out)
                left = []
            delivery.filtered_out_are_deleted(filtered_out, but=left)


def _redelivery_backoff(mapping: QueueMapping) -> Backoff | None:
    backoff = mapping.redelivery_backoff
    return None if backoff is None else Backoff(initial=backoff.initial_in_seconds, maximum=backoff.maximum_in_seconds)
