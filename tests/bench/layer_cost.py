"""How is a layer measured? It does its part of a batch again and again, and the CPU time of this process counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

MESSAGES = 10
SIDE_BY_SIDE = 10
BATCHES = 2_000
ROUNDS = 5

Work = Callable[[], Awaitable[object]]
"""What a layer does for one batch."""


async def cost(work: Work) -> float:
    """Return the CPU time in µs for each message of a batch, in the best round."""

    async def repeat() -> None:
        for _ in range(BATCHES // SIDE_BY_SIDE):
            await work()

    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(SIDE_BY_SIDE):
                tasks.create_task(repeat())
        best = min(best, time.process_time() - began)
    return best / BATCHES / MESSAGES * 1e6


def blocking_cost(work: Callable[[], object]) -> float:
    """Return the same for work that blocks, one batch after the other."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(BATCHES):
            work()
        best = min(best, time.process_time() - began)
    return best / BATCHES / MESSAGES * 1e6
