"""How are many messages deleted with few requests? While one request runs, other messages wait for the next request.

    delete ─┐
    delete ─┼─ wait until the present request has ended ──> one request deletes up to ten messages that wait
    delete ─┘

If no request runs, a message is deleted at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from poller.errors import ServiceError
from poller.model.message import Message, RejectedEntry

MAXIMUM_MESSAGES = 10
"""The most messages in one request. Source: Amazon SQS API Reference, "DeleteMessageBatch"."""


@dataclass(slots=True, eq=False)
class Deletion:
    """A message that waits for its request. `rejected` and `error` are set when the request has ended."""

    message: Message
    is_done: bool = False
    rejected: RejectedEntry | None = None
    error: ServiceError | None = None


class Deleter:
    """Deletes the messages of one queue. `delete_batch` deletes up to ten messages, as `QueueSource.delete` does."""

    def __init__(self, delete_batch: Callable[[Sequence[Message]], Awaitable[list[RejectedEntry]]]) -> None:
        self._delete_batch = delete_batch
        self._waiting: list[Deletion] = []
        self._request = anyio.Lock()

    async def delete(self, message: Message) -> RejectedEntry | None:
        """Delete a message. Return why SQS did not delete it, or None. Raises the ServiceError of the request."""
        deletion = Deletion(message)
        self._waiting.append(deletion)
        try:
            async with self._request:
                if not deletion.is_done:
                    await self._delete_first(deletion)
        finally:
            if deletion in self._waiting:
                self._waiting.remove(deletion)
        if deletion.error is not None:
            raise deletion.error
        return deletion.rejected

    async def _delete_first(self, own: Deletion) -> None:
        """Delete the message of this task, and up to nine others that wait.

        If this task is cancelled, the others still wait, and one of them makes the next request.
        """
        others = [deletion for deletion in self._waiting if deletion is not own]
        batch = [own, *others[: MAXIMUM_MESSAGES - 1]]
        error, rejected = None, list[RejectedEntry]()
        try:
            rejected = await self._delete_batch([deletion.message for deletion in batch])
        except ServiceError as failure:
            error = failure
        by_receipt = {entry.message.receipt_handle: entry for entry in rejected}
        for deletion in batch:
            deletion.is_done, deletion.error = True, error
            deletion.rejected = by_receipt.get(deletion.message.receipt_handle)
