"""How does a mapping receive messages?  By calls of ReceiveMessage, with pauses after a failure.

A call waits at SQS until a message comes (a long poll). After a failure, the mapping's only poll pauses; the pause is
longer after each failure in a row. Additional polls end instead of pausing, so that they use up no room.
Some emulators have no long polls. So the mapping also pauses after an empty answer that came too soon.
A stop cancels the call. If SQS has already hidden messages for it, they become visible again after their visibility
timeout.
Defective messages are a trouble of the source. It ends when a later receive shows that they have gone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import anyio

from poller.core.backoff import HASTY
from poller.core.queues.in_hand import Receive
from poller.core.queues.scaling import PollScaling
from poller.engine.queues.permits import Permits
from poller.engine.queues.visibility import VisibilityKeeper
from poller.engine.source_health import SourceHealth
from poller.engine.source_pauses import SourcePauses
from poller.engine.stop import Stop
from poller.errors import Rejected, ServiceError
from poller.facts import Emit, MessagesReceived
from poller.model.ids import MappingName
from poller.model.message import Message
from poller.ports import QueueSource

MESSAGES_PER_RECEIVE = 10
"""The most that one ReceiveMessage returns (SQS API reference)."""

LONG_POLL_IN_SECONDS = 20
"""How long the first poll of a mapping waits: as long as SQS allows. So an idle queue costs three receives a minute.

If the visibility timeout is short, the poll is shorter, so that a message that comes late is certainly hidden.
"""

SHORT_POLL_IN_SECONDS = 1
"""How long each additional poll waits.

It uses up room of the function, so it must end soon after the queue is empty.
"""

MESSAGES = "messages of ReceiveMessage"
"""The operation that the status names when messages are defective, although the call itself succeeds."""

SHORTEST_EMPTY_POLL_IN_SECONDS = 0.9
"""If an empty answer comes sooner than this, the service did not wait for a message, and the mapping pauses.

Some emulators have no long polls. Others end all polls when one message arrives.
"""


class Receiver:
    """Receives the messages of one mapping."""

    def __init__(
        self,
        *,
        mapping: MappingName,
        source: QueueSource,
        keeper: VisibilityKeeper,
        permits: Permits,
        scaling: PollScaling,
        health: SourceHealth,
        pauses: SourcePauses,
        stop: Stop,
        emit: Emit,
        randomness: random.Random,
    ) -> None:
        self._mapping = mapping
        self._source = source
        self._keeper = keeper
        self._permits = permits
        self._scaling = scaling
        self._health = health
        self._pauses = pauses
        self._stop = stop
        self._emit = emit
        self._randomness = randomness
        self._calls: set[anyio.CancelScope] = set()
        self._hasty_polls = 0
        self._defective_until: float | None = None  # the time at which the defective messages become visible again

    @property
    def first_wait_in_seconds(self) -> int:
        """Return how long the first receive of a poll may wait for a message."""
        return self.longest_wait_in_seconds if self._permits.polls_in_flight == 1 else SHORT_POLL_IN_SECONDS

    @property
    def longest_wait_in_seconds(self) -> int:
        """Return how many seconds a receive may wait: two thirds of the visibility timeout, but from 1 to 20.

        SQS may hide a message from the beginning of the poll on, so the timeout must outlast the poll.
        """
        return min(LONG_POLL_IN_SECONDS, max(SHORT_POLL_IN_SECONDS, self._keeper.timeout_in_seconds * 2 // 3))

    async def receive(
        self, *, room: int, wait_in_seconds: int, has_batch: bool
    ) -> tuple[Sequence[Message], Receive] | None:
        """Receive at most `room` messages with one call.

        Return None if the source failed, or if a stop cancelled the call.

        `has_batch` says whether this poll already has messages. Then there is no pause after a failure.
        """
        count, asked_at = min(MESSAGES_PER_RECEIVE, room), anyio.current_time()
        timeout, queue_timeout = self._keeper.timeout_in_seconds, self._keeper.queue_timeout_in_seconds
        messages: list[Message] | None = None
        with self.cut_at_a_stop():
            try:
                messages = await self._source.receive(
                    count=count, wait_in_seconds=wait_in_seconds, visibility_timeout_in_seconds=timeout
                )
            except ServiceError as error:
                self._scaling.failed()
                delay = self._pauses.after_failure(error, asked_at=asked_at)
                self._health.failed("ReceiveMessage", error, retry_in=delay)
                if not has_batch and self._permits.polls_in_flight == 1:
                    await self._stop.sleep(delay)  # the mapping begins no other poll during this pause
        if messages is None:
            return None
        self._succeeded(messages, asked=count, asked_at=asked_at)
        receive = Receive(asked_at, anyio.current_time(), timeout, queue_timeout)
        if not messages and (has_batch or self._permits.polls_in_flight == 1):
            await self._slow_down(receive.answered_at - asked_at)
        return messages, receive

    def defects_found(self, text: str, receive: Receive) -> None:
        """Report the defective messages of a receive as a trouble of the source."""
        self._defective_until = receive.answered_at + receive.timeout_in_seconds
        error = Rejected(text, code="UnusableMessage")
        self._health.background_failure(MESSAGES, error, retry_in=receive.queue_timeout_in_seconds)

    def cut(self) -> None:
        """Cancel every receive in flight, and every other block of `cut_at_a_stop`."""
        for call in self._calls:
            call.cancel()

    @contextmanager
    def cut_at_a_stop(self) -> Iterator[None]:
        """Cancel the block when the stop begins, as `cut` does."""
        with anyio.CancelScope() as scope:
            if self._stop.has_begun:
                scope.cancel()
            self._calls.add(scope)
            try:
                yield
            finally:
                self._calls.discard(scope)

    def _succeeded(self, messages: Sequence[Message], *, asked: int, asked_at: float) -> None:
        self._health.succeeded("ReceiveMessage")
        self._pauses.succeeded()
        self._scaling.received(len(messages), asked=asked)
        if messages:
            self._hasty_polls = 0
        if self._defective_until is not None:
            self._end_defects(self._defective_until, messages, asked_at)
        self._emit(MessagesReceived(self._mapping, len(messages)))

    def _end_defects(self, until: float, messages: Sequence[Message], asked_at: float) -> None:
        """End the trouble of defective messages if this receive shows that they have gone.

        An empty receive shows this only if it began after the defective messages had become visible.
        """
        if not any(message.defect for message in messages) if messages else asked_at >= until:
            self._defective_until = None
            self._health.succeeded(MESSAGES)

    async def _slow_down(self, waited: float) -> None:
        """Pause after an empty answer that came too soon. The pause is longer after each such answer in a row.

        Additional polls end instead of pausing, because a pause would use up room that other mappings need.
        """
        if waited >= SHORTEST_EMPTY_POLL_IN_SECONDS:
            self._hasty_polls = 0
            return
        self._hasty_polls += 1
        await self._stop.sleep(HASTY.delay(self._hasty_polls, self._randomness))
