"""How are many items of a DynamoDB table read and written with few waits?

    scan     Scan, page by page; it is eventually consistent, which costs half
    read     BatchGetItem, consistent, 100 items a call
    write    one request for each item, with a condition; several at the same time

A throttled request is tried again after short pauses. If it is still throttled, the other items of the call are written
all the same. After any other error the items that are left are not sent, because they would fail, too.
A call raises the first error when the requests in flight have ended.

Source: Amazon DynamoDB API Reference, "BatchGetItem", "Scan", "PutItem".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import count
from random import Random
from typing import Any, Literal, Protocol, TypeVar

import anyio
import orjson

from poller.errors import Rejected, ServiceError, Throttled, Unreachable

Attribute = Mapping[str, Any]
"""A value with its type, as in {"N": "7"}, {"S": "text"}, {"SS": ["text", "text"]} or {"B": base64}."""

Item = Mapping[str, Attribute]
"""The attributes of an item by their names."""

Operation = Literal["PutItem", "UpdateItem", "DeleteItem"]

KEY = "leaseKey"
"""The partition key of a table of leases, and of a table of the Kinesis Client Library."""

KEYS_IN_A_READ = 100
"""The maximum of BatchGetItem. Source: Amazon DynamoDB API Reference."""

MAXIMUM_PAGES = 10_000
"""The most pages of one scan. A page has up to 1 MB, so a longer scan never ends. We chose it."""

WRITES_AT_ONCE = 32
"""How many items of one call are written at the same time. We chose it: 1,000 items then take less than a second."""

ANSWER_TIMEOUT_IN_SECONDS = 3.0
"""How long an answer may take. We chose it: a lease lasts for 10 s, so a renewal can be sent again in time."""

THROTTLE_PAUSES_IN_SECONDS = (0.05, 0.1, 0.2, 0.4)
"""The pauses before a throttled request is sent again, before jitter. We chose them to be short beside a lease."""

CONDITION_FAILED = "ConditionalCheckFailedException"

K = TypeVar("K", bound=str)


class Client(Protocol):
    """The client of DynamoDB's JSON protocol."""

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Send one request and return the parsed answer. Raises only errors.ServiceError."""


class Items:
    """The items of one table, which exists (`dynamodb_table.py`). `randomness` draws the jitter of pauses."""

    def __init__(self, client: Client, *, table: str, randomness: Random) -> None:
        self._client = client
        self._table = table
        self._randomness = randomness

    async def scan(self) -> list[Item]:
        """Return all items; an item may be older than the last write."""
        items: list[Item] = []
        request: dict[str, Any] = {"TableName": self._table}
        for _ in range(MAXIMUM_PAGES):
            answer = await self._call("Scan", request, wanted="Items")
            items.extend(answer["Items"])
            if not (last := answer.get("LastEvaluatedKey")):
                return items
            request["ExclusiveStartKey"] = last
        raise Rejected(f"a scan of {self._table} does not end", code="UnusableAnswer")

    async def read(self, keys: Collection[str]) -> list[Item]:
        """Return those of these items that exist, as they are now."""
        wanted, items = [{KEY: {"S": key}} for key in dict.fromkeys(keys)], list[Item]()
        for first in range(0, len(wanted), KEYS_IN_A_READ):
            items += await self._read(wanted[first : first + KEYS_IN_A_READ])
        return items

    async def write(self, operation: Operation, requests: Mapping[K, Mapping[str, Any]]) -> frozenset[K]:
        """Send one request for each item. Return the keys of those whose condition was not true."""
        rejected: set[K] = set()
        errors: list[ServiceError] = []
        limiter = anyio.CapacityLimiter(WRITES_AT_ONCE)

        async def write(key: K, request: Mapping[str, Any]) -> None:
            async with limiter:
                if any(not isinstance(error, Throttled) for error in errors):
                    return
                try:
                    await self._call(operation, {"TableName": self._table, **request})
                except ServiceError as error:
                    if error.code == CONDITION_FAILED:
                        rejected.add(key)
                    else:
                        errors.append(error)

        async with anyio.create_task_group() as writes:
            for key, request in requests.items():
                writes.start_soon(write, key, request)
        if errors:
            raise errors[0]
        return frozenset(rejected)

    async def _read(self, wanted: list[dict[str, Any]]) -> list[Item]:
        items: list[Item] = []
        for attempt in count():
            asked = {"RequestItems": {self._table: {"Keys": wanted, "ConsistentRead": True}}}
            answer = await self._call("BatchGetItem", asked, wanted="Responses")
            items += answer["Responses"].get(self._table, ())
            wanted = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            if not wanted:
                return items
            if attempt == len(THROTTLE_PAUSES_IN_SECONDS):
                raise Throttled(f"{self._table}: some items were not read", code="UnprocessedKeys")
            await self._pause(attempt)
        raise AssertionError("count() does not end")

    async def _call(self, operation: str, request: Mapping[str, Any], *, wanted: str | None = None) -> Any:
        """Send a request, also after throttles. Raises Unreachable if the answer does not have the wanted part."""
        body = orjson.dumps(request)
        for attempt in count():
            try:
                answer = await self._client.call(operation, body, timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS)
            except Throttled:
                if attempt == len(THROTTLE_PAUSES_IN_SECONDS):
                    raise
                await self._pause(attempt)
            else:
                if wanted is not None and not (isinstance(answer, dict) and wanted in answer):
                    raise Unreachable(f"the answer has no {wanted}", code="UnusableAnswer", was_sent=True)
                return answer
        raise AssertionError("count() does not end")

    async def _pause(self, attempt: int) -> None:
        await anyio.sleep(THROTTLE_PAUSES_IN_SECONDS[attempt] * (0.5 + self._randomness.random()))
