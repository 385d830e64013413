"""How fast may shards be listed? As fast as the service allows for all mappings together.

    page ── its turn ── call ── throttled? all mappings wait, then the same page again
                            └── no answer? only this listing waits, then the same page again

Without this, a large listing would fail halfway, start again at its first page, and never end.

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
"""The operations that list shards, and the rate that AWS allows for each."""

TRIES = 10
"""How many calls are made for one page before the listing fails. We chose it: throttled calls take half a minute."""

TRIES_WITHOUT_ANSWER = 3
"""How many calls for one page may get no answer before the listing fails. We chose this number."""

LONGEST_WAIT_IN_SECONDS = 45.0
"""How long the throttling pauses of one page may be in all before the listing fails. We chose this number.

The service may ask for long pauses; when the listing fails, the mapping reports why it waits.
"""


class Pace:
    """Gives turns to call one operation. All mappings of one account and region share it."""

    def __init__(self, operation: str, randomness: random.Random, *, calls_in_a_second: float | None = None) -> None:
        self.operation = operation
        self._interval = 1 / (calls_in_a_second or CALLS_IN_A_SECOND[operation])
        self._randomness = randomness
        self._free_at = 0.0

    async def turn(self) -> None:
        """Wait until the next call may begin. Turns are given in the order in which tasks ask."""
        now = anyio.current_time()
        mine = max(now, self._free_at)
        self._free_at = mine + self._interval
        await anyio.sleep(mine - now)

    def throttled(self, error: Throttled, *, in_a_row: int) -> float:
        """Give no turns for some time, and return that time in seconds. All mappings wait, because they share the rate.

        `in_a_row` is the number of calls for the present page.
        """
        delay = at_least(error.retry_after, THROTTLED_LISTING.delay(in_a_row, self._randomness))
        self._free_at = max(self._free_at, anyio.current_time() + delay)
        return delay

    async def rest(self, *, in_a_row: int) -> None:
        """Wait before the next call for a page. `in_a_row` calls have got no answer. Other mappings do not wait."""
        await anyio.sleep(THROTTLED_LISTING.delay(in_a_row, self._randomness))


class PacedClient:
    """A client whose calls that list shards wait for a turn of the shared `pace`. Its other calls do not wait."""

    def __init__(self, client: Client, pace: Pace) -> None:
        self._client = client
        self._pace = pace

    @property
    def clock(self) -> SourceClock:
        return self._client.clock

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Call the service. A listing call that is throttled or gets no answer is repeated.

        The timeout covers one try, without the wait for its turn.
        """
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
