"""How are finished messages deleted? Ten to a call, again after a failure while they are still hidden, and counted.

A message that cannot be deleted comes again, so every delete that is given up is a duplicate to come and is reported.
A queue that we may not delete from at all is in trouble, and its mapping says so.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import anyio

from poller.core.backoff import DELETE
from poller.engine.queues.chunks import MESSAGES_PER_CALL, in_chunks_of_ten
from poller.engine.queues.in_hand import MessageInHand
from poller.engine.source_health import SourceHealth
from poller.errors import ServiceError
from poller.facts import DeleteFailed, Emit, MessagesDeleted
from poller.model.ids import MappingName
from poller.ports import QueueSource

TRIES = 10
"""Then a delete is given up: about a minute of backoff."""


class Deleter:
    """Deletes the messages of one mapping."""

    def __init__(
        self,
        *,
        mapping: MappingName,
        source: QueueSource,
        health: SourceHealth,
        emit: Emit,
        randomness: random.Random,
    ) -> None:
        self._mapping = mapping
        self._source = source
        self._health = health
        self._emit = emit
        self._randomness = randomness

    async def delete(self, done: Sequence[MessageInHand]) -> None:
        """Delete them all, or give up those that are no longer hidden or refused for good."""
        for failures in range(1, TRIES + 1):
            left = await self.try_delete(done)
            if not left:
                return
            await anyio.sleep(DELETE.delay(failures, self._randomness))
            now = anyio.current_time()
            done = [held for held in left if not held.is_lost and held.visible_until > now]
            self._give_up(len(left) - len(done), "ReceiptExpired")
        self._give_up(len(done), "GivenUp")

    async def delete_once(self, done: Sequence[MessageInHand]) -> None:
        """Delete up to ten, with no second try."""
        left = await self._delete_ten(done)
        self._give_up(len(left), "GivenUp")

    async def try_delete(self, done: Sequence[MessageInHand]) -> list[MessageInHand]:
        """One try for each; returns those worth another."""
        if len(done) <= MESSAGES_PER_CALL:
            return await self._delete_ten(done)
        left: list[MessageInHand] = []

        async def ten(some: Sequence[MessageInHand]) -> None:
            left.extend(await self._delete_ten(some))

        await in_chunks_of_ten(done, ten)
        return left

    async def _delete_ten(self, done: Sequence[MessageInHand]) -> list[MessageInHand]:
        """Returns those worth another try."""
        try:
            refusals = await self._source.delete([held.message for held in done])
        except ServiceError as error:
            self._health.background_failure("DeleteMessageBatch", error, retry_in=DELETE.initial)
            self._emit(DeleteFailed(self._mapping, len(done), error.code, False))
            return list(done)
        self._health.succeeded("DeleteMessageBatch")
        self._emit(MessagesDeleted(self._mapping, len(done) - len(refusals)))
        if not refusals:
            return []
        for refusal in refusals:
            self._emit(DeleteFailed(self._mapping, 1, refusal.code, refusal.is_final))
        again = {refusal.message.receipt_handle for refusal in refusals if not refusal.is_final}
        return [held for held in done if held.message.receipt_handle in again]

    def _give_up(self, count: int, code: str) -> None:
        if count:
            self._emit(DeleteFailed(self._mapping, count, code, True))
