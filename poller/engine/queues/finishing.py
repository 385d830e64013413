"""How are messages deleted from the queue, or made visible in it again? By calls for up to ten messages each.

A failed message becomes visible when the queue's own visibility timeout ends, even if its receive hid it for longer:

    failed ─────────────── the queue's own timeout ends ─────────────── the receive's timeout ends
       └──── stays hidden ────┘ visible

A call that fails is repeated while its messages are hidden, for up to a minute.
A message that cannot be deleted is received a second time. So the log reports each message whose delete is given up.
A message that cannot be made visible stays hidden until its present timeout ends.
No call is made for a message that becomes visible at the right time by itself.
Messages become visible in their order, and messages of one group share a call. So no message overtakes an earlier
message of its group.
If the mapping has no permission to delete messages, its status shows this as a trouble of the source.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

import anyio

from poller.core.backoff import DELETE
from poller.core.queues.delivery import Finish
from poller.core.queues.in_hand import MessageInHand
from poller.core.queues.visibility import seconds_until
from poller.engine.queues.chunks import CALLS_AT_ONCE, MESSAGES_PER_CALL, in_chunks_of_ten, side_by_side
from poller.engine.source_health import SourceHealth
from poller.errors import LASTING, ServiceError
from poller.facts import DeleteFailed, Emit, MessagesDeleted, MessagesReleased, VisibilityChangeFailed
from poller.model.ids import MappingName
from poller.ports import QueueSource

TRIES = 10
"""How often a call is tried. The pauses between ten tries take up to a minute."""

CALLS_AT_A_STOP = 50
"""How many calls of each kind may run at the same time at a stop, when all messages return to the queue at once."""

Messages: TypeAlias = Sequence[MessageInHand]


class Tried(NamedTuple):
    """The result of one try: the messages to try again, and the number of messages that need no other try."""

    again: Messages
    taken: int


class Finisher:
    """Deletes messages of one mapping, or makes them visible again."""

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

    async def finish(self, finish: Finish) -> None:
        """Delete the messages that are done, make the other messages visible, and repeat the calls that fail.

        A message gets no further try if it is not hidden any more, or if SQS rejects it for good.
        """
        if finish.delete:
            await self.delete(finish.delete)
        if finish.show:
            await self.show(finish.show)

    async def finish_once(self, finish: Finish) -> None:
        """Delete the messages that are done and make the other messages visible at a stop.

        Each call is made only once.
        """
        async with anyio.create_task_group() as calls:
            calls.start_soon(in_chunks_of_ten, finish.delete, self._delete_once, CALLS_AT_A_STOP)
            calls.start_soon(_in_order, _to_change(finish.show), self._show_once, CALLS_AT_A_STOP)

    async def delete(self, messages: Messages) -> None:
        if left := await self.try_delete(messages):
            self._give_up(await self._again_and_again(left, self.try_delete, self._still_hidden), "GivenUp")

    async def try_delete(self, messages: Messages) -> Messages:
        """Try once to delete each message. Return the messages to try again."""
        if len(messages) <= MESSAGES_PER_CALL:
            return (await self._delete_ten(messages)).again
        again: list[MessageInHand] = []

        async def ten(some: Messages) -> None:
            again.extend((await self._delete_ten(some)).again)

        await in_chunks_of_ten(messages, ten)
        return again

    async def show(self, messages: Messages) -> None:
        """Change the timeouts of these messages so that each becomes visible at its `returns_at`."""
        if left := await self._try_show(_to_change(messages)):
            await self._again_and_again(left, self._try_show, _to_change)

    async def _try_show(self, messages: Messages) -> Messages:
        again = [held for held in messages if held.calls_to_hide]  # an earlier call to hide it may reach SQS later

        async def ten(some: Messages) -> None:
            again.extend((await self._show_ten(some)).again)

        await _in_order([held for held in messages if not held.calls_to_hide], ten)
        return again

    async def _again_and_again(
        self,
        left: Messages,
        attempt: Callable[[Messages], Awaitable[Messages]],
        worth_another: Callable[[Messages], Messages],
    ) -> Messages:
        """Repeat `attempt` for the messages that it could not change, with growing pauses.

        Return the messages that no attempt could change.
        """
        for failures in range(1, TRIES):
            await anyio.sleep(DELETE.delay(failures, self._randomness))
            if left := worth_another(left):
                left = await attempt(left)
            if not left:
                return []
        await anyio.sleep(DELETE.delay(TRIES, self._randomness))
        return worth_another(left)

    def _still_hidden(self, messages: Messages) -> Messages:
        now = anyio.current_time()
        self._give_up([held for held in messages if held.may_be_visible(now)], "ReceiptExpired")
        return [held for held in messages if not held.may_be_visible(now)]

    async def _delete_once(self, messages: Messages) -> None:
        self._give_up((await self._delete_ten(messages)).again, "GivenUp")

    async def _show_once(self, messages: Messages) -> None:
        if shown := (await self._show_ten(messages)).taken:
            self._emit(MessagesReleased(self._mapping, shown))

    async def _delete_ten(self, messages: Messages) -> Tried:
        """Delete up to ten messages with one call."""
        try:
            rejected = await self._source.delete([held.message for held in messages])
        except ServiceError as error:
            self._health.background_failure("DeleteMessageBatch", error, retry_in=DELETE.initial)
            self._emit(DeleteFailed(self._mapping, len(messages), error.code, False))
            return Tried(messages, 0)
        self._health.succeeded("DeleteMessageBatch")
        deleted = len(messages) - len(rejected)
        self._emit(MessagesDeleted(self._mapping, deleted))
        again = {entry.message.receipt_handle for entry in rejected if not entry.is_final}
        for held in messages:
            if held.message.receipt_handle not in again:
                held.is_left = True
        if not rejected:
            return Tried([], deleted)
        for entry in rejected:
            self._emit(DeleteFailed(self._mapping, 1, entry.code, entry.is_final))
        return Tried([held for held in messages if held.message.receipt_handle in again], deleted)

    async def _show_ten(self, messages: Messages) -> Tried:
        """Change the timeouts of up to ten messages with one call.

        All these messages become visible in the same second.
        """
        timeout = seconds_until(
            max(held.returns_at for held in messages),
            longest_until=min(held.longest_until for held in messages),
            now=anyio.current_time(),
        )
        try:
            rejected = await self._source.change_visibility(
                [held.message for held in messages], timeout_in_seconds=timeout
            )
        except ServiceError as error:
            self._health.background_failure("ChangeMessageVisibilityBatch", error, retry_in=DELETE.initial)
            is_lasting = isinstance(error, LASTING)
            self._emit(VisibilityChangeFailed(self._mapping, len(messages), error.code, is_lasting))
            return Tried([] if is_lasting else messages, 0)
        self._health.succeeded("ChangeMessageVisibilityBatch")
        for entry in rejected:
            self._emit(VisibilityChangeFailed(self._mapping, 1, entry.code, entry.is_final))
        again = {entry.message.receipt_handle for entry in rejected if not entry.is_final}
        return Tried([held for held in messages if held.message.receipt_handle in again], len(messages) - len(rejected))

    def _give_up(self, messages: Messages, code: str) -> None:
        """Report that these messages could not be deleted, and that no further try follows."""
        for held in messages:
            held.is_left = True
        if messages:
            self._emit(DeleteFailed(self._mapping, len(messages), code, True))


def _to_change(messages: Messages) -> Messages:
    """Return the messages that are still hidden, and that would become visible at a wrong time without a call."""
    now = anyio.current_time()
    return [held for held in messages if not held.returns_by_itself and not held.may_be_visible(now)]


async def _in_order(
    messages: Messages, call: Callable[[Messages], Awaitable[None]], at_once: int = CALLS_AT_ONCE
) -> None:
    """Await `call` with groups of ten messages that become visible in the same second.

    The earliest second comes first.
    """
    for _, together in groupby(sorted(messages, key=_second), _second):
        await side_by_side(_with_whole_groups(together), call, at_once)


def _with_whole_groups(messages: Iterable[MessageInHand]) -> list[list[MessageInHand]]:
    """Return the messages of each call, at most ten.

    Messages of one group share a call, because calls may overtake each other.

    A group has at most ten messages in hand, because one receive returned all of them.
    """
    groups: defaultdict[object, list[MessageInHand]] = defaultdict(list)
    for held in messages:
        groups[held.group or held].append(held)
    calls: list[list[MessageInHand]] = [[]]
    for members in groups.values():
        for start in range(0, len(members), MESSAGES_PER_CALL):  # a queue that breaks SQS's rules may give more
            part = members[start : start + MESSAGES_PER_CALL]
            if len(calls[-1]) + len(part) > MESSAGES_PER_CALL:
                calls.append([])
            calls[-1] += part
    return calls


def _second(held: MessageInHand) -> int:
    return math.ceil(held.returns_at)
