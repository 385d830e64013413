"""How do workers on several hosts share leases? In a table of DynamoDB.

    scan                      ──> Scan, page by page; it is eventually consistent, which costs half
    read                      ──> BatchGetItem, consistent, 100 rows a call
    create, update, delete    ──> one PutItem or DeleteItem a row, with a condition on the counter; several at once

DynamoDB bills a write by the size of the whole item, however little of it changes, so an update replaces the item.
A throttled request is tried again after short pauses. If it is still throttled, the other rows of the call are written
all the same. After any other error the rows that are left are not sent, because they would fail, too. A call raises the
first error when the requests in flight have ended.

Source: Amazon DynamoDB API Reference, "PutItem", "DeleteItem", "BatchGetItem", "Scan".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import count
from random import Random
from typing import Any, Literal, Protocol

import anyio
import orjson

from poller.errors import Rejected, ServiceError, Throttled, Unreachable
from poller.model.lease import Row, RowKey
from poller.stores.dynamodb_rows import KEY, item_of, row_of
from poller.stores.notation import rank, refuse_to_move_back

KEYS_IN_A_READ = 100
"""The maximum of BatchGetItem. Source: Amazon DynamoDB API Reference."""

MAXIMUM_PAGES = 10_000
"""The most pages of one scan. A page has up to 1 MB, so a longer scan never ends. We chose it."""

WRITES_AT_ONCE = 32
"""How many rows of one call are written at the same time. We chose it: 1,000 rows then take less than a second."""

ANSWER_TIMEOUT_IN_SECONDS = 3.0
"""How long an answer may take. We chose it: a lease lasts for 10 s, so a renewal can be sent again in time."""

THROTTLE_PAUSES_IN_SECONDS = (0.05, 0.1, 0.2, 0.4)
"""The pauses before a throttled request is sent again, before jitter. We chose them to be short beside a lease."""

CONDITION_FAILED = "ConditionalCheckFailedException"

Operation = Literal["PutItem", "DeleteItem"]


class Client(Protocol):
    """The client of DynamoDB's JSON protocol."""

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Send one request and return the parsed answer. Raises only errors.ServiceError."""


class DynamoDbLeaseStore:
    """`ports.LeaseStore` in a table that exists (`dynamodb_table.py`). `rng` draws the jitter of pauses."""

    def __init__(self, client: Client, *, table: str, rng: Random) -> None:
        self._client = client
        self._table = table
        self._rng = rng

    async def scan(self) -> list[Row]:
        """Return all rows; a row may be older than the last write."""
        rows: list[Row] = []
        request: dict[str, Any] = {"TableName": self._table}
        for _ in range(MAXIMUM_PAGES):
            answer = await self._call("Scan", request, wanted="Items")
            rows.extend(map(row_of, answer["Items"]))
            if not (last := answer.get("LastEvaluatedKey")):
                return rows
            request["ExclusiveStartKey"] = last
        raise Rejected(f"a scan of {self._table} does not end", code="UnusableAnswer")

    async def read(self, keys: Collection[RowKey]) -> dict[RowKey, Row]:
        """Return those of these rows that exist."""
        wanted, rows = [{KEY: {"S": key}} for key in dict.fromkeys(keys)], dict[RowKey, Row]()
        for first in range(0, len(wanted), KEYS_IN_A_READ):
            rows |= await self._read(wanted[first : first + KEYS_IN_A_READ])
        return rows

    async def create(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Store new rows. Return the keys that already existed."""
        for row in rows:
            assert row.counter == 1, f"{row.key}: a new row has the counter 1, not {row.counter}"
        condition = {"ConditionExpression": f"attribute_not_exists({KEY})"}
        return await self._write("PutItem", {row.key: {"Item": item_of(row)} | condition for row in rows})

    async def update(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Replace rows. Return the keys of the rows whose stored counter was another one, or that do not exist.

        Raises CheckpointMovedBack if a row has such a checkpoint; the other rows may be stored then.
        """
        rejected = await self._write("PutItem", {row.key: _replacement(row) for row in rows})
        stored = await self.read(rejected)
        for row in rows:
            refuse_to_move_back(stored.get(row.key), row)
        return rejected

    async def delete(self, rows: Collection[Row]) -> frozenset[RowKey]:
        """Delete rows. Return the keys of the rows whose stored counter is another one."""
        return await self._write("DeleteItem", {row.key: _removal(row) for row in rows})

    async def _read(self, wanted: list[dict[str, Any]]) -> dict[RowKey, Row]:
        rows: dict[RowKey, Row] = {}
        for attempt in count():
            asked = {"RequestItems": {self._table: {"Keys": wanted, "ConsistentRead": True}}}
            answer = await self._call("BatchGetItem", asked, wanted="Responses")
            found = map(row_of, answer["Responses"].get(self._table, ()))
            rows |= {row.key: row for row in found}
            wanted = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", [])
            if not wanted:
                return rows
            if attempt == len(THROTTLE_PAUSES_IN_SECONDS):
                raise Throttled(f"{self._table}: some rows were not read", code="UnprocessedKeys")
            await self._pause(attempt)
        raise AssertionError("count() does not end")

    async def _write(self, operation: Operation, requests: Mapping[RowKey, Mapping[str, Any]]) -> frozenset[RowKey]:
        """Send one request for each row. Return the keys of those whose condition was not true."""
        rejected: set[RowKey] = set()
        errors: list[ServiceError] = []
        limiter = anyio.CapacityLimiter(WRITES_AT_ONCE)

        async def write(key: RowKey, request: Mapping[str, Any]) -> None:
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
        await anyio.sleep(THROTTLE_PAUSES_IN_SECONDS[attempt] * (0.5 + self._rng.random()))


def _replacement(row: Row) -> Mapping[str, Any]:
    """Return the parameters of a PutItem that replaces the row if its counter is the one before.

    The condition on the rank is a second guard: a checkpoint never moves back, and is never removed.
    """
    values = {":before": {"N": str(row.counter - 1)}}
    never_back = "attribute_not_exists(checkpointRank)"
    if row.checkpoint is not None:
        values[":rank"] = {"S": rank(row.checkpoint.position)}
        never_back = f"({never_back} OR checkpointRank <= :rank)"
    return {
        "Item": item_of(row),
        "ConditionExpression": f"leaseCounter = :before AND {never_back}",
        "ExpressionAttributeValues": values,
    }


def _removal(row: Row) -> Mapping[str, Any]:
    return {
        "Key": {KEY: {"S": row.key}},
        "ConditionExpression": f"attribute_not_exists({KEY}) OR leaseCounter = :counter",
        "ExpressionAttributeValues": {":counter": {"N": str(row.counter)}},
    }
