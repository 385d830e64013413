"""How is a call for many messages made?

As several calls with up to ten messages each, some of them at the same time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")

MESSAGES_PER_CALL = 10
"""The most that one DeleteMessageBatch or ChangeMessageVisibilityBatch takes (SQS API reference)."""

CALLS_AT_ONCE = 10
"""How many calls one batch has in flight: a batch of 10,000 messages must not open 1,000 connections."""


async def in_chunks_of_ten(
    items: Sequence[T], call: Callable[[Sequence[T]], Awaitable[object]], at_once: int = CALLS_AT_ONCE
) -> None:
    """Await `call` with each group of ten items.

    At most `at_once` calls run at the same time.

    The calls begin in the order of the items.
    """
    starts = range(0, len(items), MESSAGES_PER_CALL)
    await side_by_side([items[start : start + MESSAGES_PER_CALL] for start in starts], call, at_once)


async def side_by_side(
    parts: Sequence[Sequence[T]], call: Callable[[Sequence[T]], Awaitable[object]], at_once: int = CALLS_AT_ONCE
) -> None:
    """Await `call` with each part.

    At most `at_once` calls run at the same time, and they begin in the order of the parts.
    """
    if len(parts) <= 1:
        for part in parts:
            await call(part)
        return
    left = iter(parts)

    async def take_turns() -> None:
        for part in left:
            await call(part)

    async with anyio.create_task_group() as turns:
        for _ in range(min(at_once, len(parts))):
            turns.start_soon(take_turns)
