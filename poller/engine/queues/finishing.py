"""How does the queue learn what became of its messages? Some are deleted, others shown again, ten to a call.

    failed at ──────────────── the queue's own timeout ends ──────── what the receive hid it for ends
        └── hidden for what is left of it ──┘

A call that fails is made again, as long as its messages are hidden, for about a minute.
A message that cannot be deleted comes again, so each delete that is given up is a duplicate to come and is reported.
A message that cannot be shown stays hidden until its receive's timeout ends; no call is made for a message that SQS
shows at the right time anyway.
The calls keep the order of the messages, and messages of one group share a call, so that no message of a group is shown
before an earlier one.
A queue that we may not delete from at all is in trouble, and its mapping says so.
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
"""Then it is given up: about a minute of backoff."""

CALLS_AT_A_STOP = 50
"""Calls of a kind that are in flight at a stop, where all that is in hand goes back together."""

Messages: TypeAlias = Sequence[MessageInHand]


class Tried(NamedTuple):
    """The messages that are worth another try, and how many the queue has taken."""

    again: Messages
    taken: int


class Finisher:
    """Deletes messages of one mapping, and shows others again."""

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
        """Carry it out, or give up what is not hidden any more and what the queue refuses for good."""
        if finish.delete:
            await self.delete(finish.delete)
        if finish.show:
            await self.show(finish.show)

    async def finish_once(self, finish: Finish) -> None:
        """The same at a stop: each call once, side by side."""
        async with anyio.create_task_group() as calls:
            calls.start_soon(in_chunks_of_ten, finish.delete, self._delete_once, CALLS_AT_A_STOP)
            calls.start_soon(_in_order, _to_change(finish.show), self._show_once, CALLS_AT_A_STOP)

    async def delete(self, messages: Messages) -> None:
        if left := await self.try_delete(messages):
            given_up = await self._again_and_again(left, self.try_delete, self._still_hidden)
            self._give_up(len(given_up), "GivenUp")

    async def try_delete(self, messages: Messages) -> Messages:
        """One try for each; returns those worth another."""
        if len(messages) <= MESSAGES_PER_CALL:
            return (await self._delete_ten(messages)).again
        again: list[MessageInHand] = []

        async def ten(some: Messages) -> None:
            again.extend((await self._delete_ten(some)).again)

        await in_chunks_of_ten(messages, ten)
        return again

    async def show(self, messages: Messages) -> None:
        """Let the queue show each of these messages at its `returns_at`."""
        if left := await self._try_show(_to_change(messages)):
            await self._again_and_again(left, self._try_show, _to_change)

    async def _try_show(self, messages: Messages) -> Messages:
        again = [held for held in messages if held.is_asked_for]  # a call to hide it might reach the queue after ours

        async def ten(some: Messages) -> None:
            again.extend((await self._show_ten(some)).again)

        await _in_order([held for held in messages if not held.is_asked_for], ten)
        return again

    async def _again_and_again(
        self,
        left: Messages,
        attempt: Callable[[Messages], Awaitable[Messages]],
        worth_another: Callable[[Messages], Messages],
    ) -> Messages:
        """Try again what is left, each time after a longer pause; returns what is left after the last one."""
        for failures in range(1, TRIES):
            await anyio.sleep(DELETE.delay(failures, self._randomness))
            left = await attempt(worth_another(left))
            if not left:
                return []
        await anyio.sleep(DELETE.delay(TRIES, self._randomness))
        return worth_another(left)

    def _still_hidden(self, messages: Messages) -> Messages:
        now = anyio.current_time()
        hidden = [held for held in messages if not held.may_be_visible(now)]
        self._give_up(len(messages) - len(hidden), "ReceiptExpired")
        return hidden

    async def _delete_once(self, messages: Messages) -> None:
        self._give_up(len((await self._delete_ten(messages)).again), "GivenUp")

    async def _show_once(self, messages: Messages) -> None:
        if shown := (await self._show_ten(messages)).taken:
            self._emit(MessagesReleased(self._mapping, shown))

    async def _delete_ten(self, messages: Messages) -> Tried:
        """Delete up to ten messages."""
        try:
            rejected = await self._source.delete([held.message for held in messages])
        except ServiceError as error:
            self._health.background_failure("DeleteMessageBatch", error, retry_in=DELETE.initial)
            self._emit(DeleteFailed(self._mapping, len(messages), error.code, False))
            return Tried(messages, 0)
        self._health.succeeded("DeleteMessageBatch")
        deleted = len(messages) - len(rejected)
        self._emit(MessagesDeleted(self._mapping, deleted))
        if not rejected:
            return Tried([], deleted)
        for entry in rejected:
            self._emit(DeleteFailed(self._mapping, 1, entry.code, entry.is_final))
        again = {entry.message.receipt_handle for entry in rejected if not entry.is_final}
        return Tried([held for held in messages if held.message.receipt_handle in again], deleted)

    async def _show_ten(self, messages: Messages) -> Tried:
        """Change up to ten messages that return at the same time."""
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

    def _give_up(self, count: int, code: str) -> None:
        if count:
            self._emit(DeleteFailed(self._mapping, count, code, True))


def _to_change(messages: Messages) -> Messages:
    """The hidden messages that SQS would show at another time."""
    now = anyio.current_time()
    return [held for held in messages if not held.returns_by_itself and not held.may_be_visible(now)]


async def _in_order(
    messages: Messages, call: Callable[[Messages], Awaitable[None]], at_once: int = CALLS_AT_ONCE
) -> None:
    """Await `call` with up to ten messages that return in the same second, the earliest first."""
    for _, together in groupby(sorted(messages, key=_second), _second):
        await side_by_side(_with_whole_groups(together), call, at_once)


def _with_whole_groups(messages: Iterable[MessageInHand]) -> list[list[MessageInHand]]:
    """Up to ten messages for each call. A group's messages share one, because one call may overtake another.

    They are no more than ten, because one receive took them all.
    """
    groups: defaultdict[object, list[MessageInHand]] = defaultdict(list)
    for held in messages:
        groups[held.group or held].append(held)
    calls: list[list[MessageInHand]] = [[]]
    for members in groups.values():
        for start in range(0, len(members), MESSAGES_PER_CALL):  # more than ten only where a queue breaks its rules
            part = members[start : start + MESSAGES_PER_CALL]
            if len(calls[-1]) + len(part) > MESSAGES_PER_CALL:
                calls.append([])
            calls[-1] += part
    return calls


def _second(held: MessageInHand) -> int:
    return math.ceil(held.returns_at)
