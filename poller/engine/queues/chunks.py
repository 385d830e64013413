"""How are calls for many messages made? Ten messages to a call; calls begin in order, and some run side by side."""

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
    """Await `call` for each ten items, in order; at most `at_once` calls run side by side."""
    starts = range(0, len(items), MESSAGES_PER_CALL)
    await side_by_side([items[start : start + MESSAGES_PER_CALL] for start in starts], call, at_once)


async def side_by_side(
    parts: Sequence[Sequence[T]], call: Callable[[Sequence[T]], Awaitable[object]], at_once: int = CALLS_AT_ONCE
) -> None:
    """Await `call` for each part, in order; at most `at_once` calls run side by side."""
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
