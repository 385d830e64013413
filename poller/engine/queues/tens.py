"""How do many messages go into calls of ten? In order, some calls side by side."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

T = TypeVar("T")

MESSAGES_PER_CALL = 10
"""The most that one DeleteMessageBatch or ChangeMessageVisibilityBatch takes (SQS API reference)."""

CALLS_AT_ONCE = 10
"""Calls that one batch has in flight, so that a batch of 10,000 does not open 1,000 connections."""


async def in_tens(
    items: Sequence[T], call: Callable[[Sequence[T]], Awaitable[None]], at_once: int = CALLS_AT_ONCE
) -> None:
    """Await `call` with each ten of the items, `at_once` of them side by side."""
    if len(items) <= MESSAGES_PER_CALL:
        if items:
            await call(items)
        return
    tens = (items[start : start + MESSAGES_PER_CALL] for start in range(0, len(items), MESSAGES_PER_CALL))

    async def take_turns() -> None:
        for ten in tens:
            await call(ten)

    async with anyio.create_task_group() as callers:
        for _ in range(min(at_once, -(-len(items) // MESSAGES_PER_CALL))):
            callers.start_soon(take_turns)
