"""How fast may shards be listed? As fast as the service allows for all mappings together.

    page ── its turn ── call ── throttled? wait, and let all others wait ── the same page again
                            └── no answer? the same page again, soon

Otherwise a large listing fails halfway, starts again at its first page, and never ends.

Sources: Amazon DynamoDB Streams API Reference, "DescribeStream" (10 calls a second); Amazon Kinesis Data Streams API
Reference, "ListShards" (100 calls a second); both for an account in a region.
"""

from __future__ import annotations

import random
from typing import Any

import anyio

from poller.core.backoff import THROTTLED_LISTING, at_least
from poller.errors import Throttled, Unreachable
from poller.ports import SourceClock
from poller.sources.client import Client

CALLS_IN_A_SECOND = {"DescribeStream": 10.0, "ListShards": 100.0}
"""The operations that list shards."""

TRIES = 10
"""How many calls in a row may be throttled for one page, about half a minute; ours. Then the listing fails."""

TRIES_WITHOUT_ANSWER = 3
"""How many calls for one page may get no answer; ours. Then the listing fails."""

LONGEST_WAIT_IN_SECONDS = 45.0
"""How long the pauses for one page may be in all, where the service asks for long ones; ours. Then the listing fails
too, so that the mapping tells why it waits."""


class Pace:
    """The turns of all mappings that share one account and region, for one operation."""

    def __init__(self, operation: str, randomness: random.Random, *, calls_in_a_second: float | None = None) -> None:
        self.operation = operation
        self._interval = 1 / (calls_in_a_second or CALLS_IN_A_SECOND[operation])
        self._randomness = randomness
        self._free_at = 0.0

    async def turn(self) -> None:
        """Returns when the next call may begin; first come, first served."""
        now = anyio.current_time()
        mine = max(now, self._free_at)
        self._free_at = mine + self._interval
        await anyio.sleep(mine - now)

    def throttled(self, error: Throttled, *, in_a_row: int) -> float:
        """Give no turns for a while, because the rate is shared by all. Returns for how many seconds."""
        delay = at_least(error.retry_after, THROTTLED_LISTING.delay(in_a_row, self._randomness))
        self._free_at = max(self._free_at, anyio.current_time() + delay)
        return delay

    async def rest(self, *, in_a_row: int) -> None:
        """Wait after so many calls for one page without an answer; the others keep their turns."""
        await anyio.sleep(THROTTLED_LISTING.delay(in_a_row, self._randomness))


class PacedClient:
    """A client that waits for a turn before each call that lists shards; `pace` is shared. Other calls do not wait."""

    def __init__(self, client: Client, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    @property
    def clock(self) -> SourceClock:
        return self._client.clock

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """The timeout is for each try, without the wait for its turn. A page that does not come is asked for again."""
        if operation != self._pace.operation:
            return await self._client.call(operation, body, timeout_in_seconds=timeout_in_seconds)
        waited, unanswered = 0.0, 0
        for tries in range(1, TRIES + 1):
            await self._pace.turn()
            try:
                return await self._client.call(operation, body, timeout_in_seconds=timeout_in_seconds)
            except Throttled as error:
                waited += self._pace.throttled(error, in_a_row=tries)
                if tries == TRIES or waited > LONGEST_WAIT_IN_SECONDS:
                    raise
            except Unreachable:
                unanswered += 1
                if tries == TRIES or unanswered == TRIES_WITHOUT_ANSWER:
                    raise
                await self._pace.rest(in_a_row=unanswered)
        raise AssertionError("the last try returns or raises")
