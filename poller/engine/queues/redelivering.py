"""When does a message that is not done come again? When the queue's own visibility timeout, from its receive, is over.

    received ──────── failed ──────────── the queue's own timeout ends ──────── what the receive hid it for ends
                        └── hidden for what is left ──┘

A message that fails later than that is shown at once.
No call is made for a message that SQS shows at the right time anyway.
A call that fails is tried again; if it is forbidden, the message stays hidden until the receive's timeout ends.
The calls keep the order of the messages, and messages of one receive are shown at one time, so that no message of a
group is shown before an earlier one.
"""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

import anyio

from poller.core.backoff import DELETE
from poller.core.queues.visibility import seconds_until
from poller.engine.queues.chunks import CALLS_AT_ONCE, MESSAGES_PER_CALL, side_by_side
from poller.engine.queues.in_hand import MessageInHand
from poller.engine.source_health import SourceHealth
from poller.errors import LASTING, ServiceError
from poller.facts import Emit, MessagesReleased, VisibilityChangeFailed
from poller.model.ids import MappingName
from poller.ports import QueueSource

TRIES = 10
"""After so many tries, about a minute, the messages stay hidden until the receive's timeout ends."""


class Tried(NamedTuple):
    """The messages that are worth another try, and how many the queue shows when it was asked to."""

    again: Sequence[MessageInHand]
    changed: int


class Redeliverer:
    """Shows failed messages of one mapping again."""

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

    async def redeliver(self, undone: Sequence[MessageInHand]) -> None:
        """Let the queue show each of these messages at its `returns_at`."""
        for failures in range(1, TRIES + 1):
            due = _to_change(undone)
            again = [held for held in due if held.is_asked_for]  # a call to hide it might reach the queue after ours

            async def ten(some: Sequence[MessageInHand], again: list[MessageInHand] = again) -> None:
                again.extend((await self._try(some)).again)

            await _in_order([held for held in due if not held.is_asked_for], ten)
            if not again:
                return
            undone = again
            await anyio.sleep(DELETE.delay(failures, self._randomness))

    async def redeliver_once(self, undone: Sequence[MessageInHand], at_once: int) -> None:
        """The same at a stop: each call once, `at_once` of them side by side."""

        async def ten(some: Sequence[MessageInHand]) -> None:
            if changed := (await self._try(some)).changed:
                self._emit(MessagesReleased(self._mapping, changed))

        await _in_order(_to_change(undone), ten, at_once)

    async def _try(self, held: Sequence[MessageInHand]) -> Tried:
        """Change up to ten messages that return at the same time."""
        timeout = seconds_until(
            max(each.returns_at for each in held),
            longest_until=min(each.longest_until for each in held),
            now=anyio.current_time(),
        )
        try:
            refusals = await self._source.change_visibility([each.message for each in held], timeout_in_seconds=timeout)
        except ServiceError as error:
            self._health.background_failure("ChangeMessageVisibilityBatch", error, retry_in=DELETE.initial)
            self._emit(VisibilityChangeFailed(self._mapping, len(held), error.code, isinstance(error, LASTING)))
            return Tried([] if isinstance(error, LASTING) else held, changed=0)
        self._health.succeeded("ChangeMessageVisibilityBatch")
        for refusal in refusals:
            self._emit(VisibilityChangeFailed(self._mapping, 1, refusal.code, refusal.is_final))
        again = {refusal.message.receipt_handle for refusal in refusals if not refusal.is_final}
        return Tried([each for each in held if each.message.receipt_handle in again], len(held) - len(refusals))


def _to_change(undone: Sequence[MessageInHand]) -> list[MessageInHand]:
    """The hidden messages that SQS would show at another time."""
    now = anyio.current_time()
    return [held for held in undone if not held.returns_by_itself and not held.is_lost and held.visible_until > now]


async def _in_order(
    held: Sequence[MessageInHand],
    call: Callable[[Sequence[MessageInHand]], Awaitable[None]],
    at_once: int = CALLS_AT_ONCE,
) -> None:
    """Await `call` with up to ten messages that return in the same second, the earliest first."""
    for _, together in groupby(sorted(held, key=_second), _second):
        await side_by_side(_with_whole_groups(together), call, at_once)


def _with_whole_groups(held: Iterable[MessageInHand]) -> list[list[MessageInHand]]:
    """Up to ten messages for each call. A group's messages share one, because one call may overtake another.

    They are no more than ten, because one receive took them all.
    """
    groups: defaultdict[object, list[MessageInHand]] = defaultdict(list)
    for each in held:
        groups[each.message.message_group_id or each].append(each)
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
