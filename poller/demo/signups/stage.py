"""How does the tour create, fill and read the queues and tables? With plain AWS calls to the emulator.

    buffer-queue.fifo ── redrive ──> failed-rows.fifo          table users       with the keys queue and email
    buffer-queue      ── redrive ──> failed-rows               table companies   with the keys queue and company

The table users has a stream. A record of the stream has the new image of a row.

Source of the queues' attributes: SQS API reference, "CreateQueue".
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from poller.demo.clients import Clients
from poller.demo.signups.accounting import Held, StoredRow
from poller.demo.signups.story import MAX_RECEIVES, QUEUES, VISIBILITY_TIMEOUT_IN_SECONDS, Queue, Row

USERS = "users"
COMPANIES = "companies"

MESSAGES_PER_CALL = 10
"""The largest number of messages in one SendMessageBatch or ReceiveMessage. Source: SQS API reference."""

COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Stage:
    """The queues and tables.

    `urls` has the url of each queue, by name. `arns` has the ARNs of the queues, and the stream's under `users`.
    """

    def __init__(self, clients: Clients) -> None:
        self._sqs = clients.sqs
        self._dynamodb = clients.dynamodb
        self.urls: dict[str, str] = {}
        self.arns: dict[str, str] = {}

    async def build(self) -> None:
        """Create the queues, the tables and the stream."""
        stream = {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}
        users = await self._create_table(USERS, "email", StreamSpecification=stream)
        self.arns[USERS] = users["LatestStreamArn"]
        await self._create_table(COMPANIES, "company")
        for queue in QUEUES:
            dead_letter_arn = await self._create_queue(queue.dead_letter_queue, queue.is_fifo)
            redrive = {"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": MAX_RECEIVES}
            self.arns[queue.name] = await self._create_queue(
                queue.name,
                queue.is_fifo,
                VisibilityTimeout=str(VISIBILITY_TIMEOUT_IN_SECONDS),
                RedrivePolicy=json.dumps(redrive),
            )

    async def send(self, queue: Queue, rows: Sequence[Row]) -> int:
        """Send up to ten rows, in order. Return how many of them the queue accepted."""
        entries = [_entry(queue, row) for row in rows]
        answer = await self._sqs.send_message_batch(QueueUrl=self.urls[queue.name], Entries=entries)
        return len(answer["Successful"])

    async def held(self, queue: Queue) -> Held:
        """Return what the emulator holds of the rows of this queue now."""
        dead_letters = await self._sqs.receive_message(
            QueueUrl=self.urls[queue.dead_letter_queue], MaxNumberOfMessages=MESSAGES_PER_CALL, VisibilityTimeout=0
        )
        return Held(
            left_over=await self._count(queue.name),
            dead_letter_count=await self._count(queue.dead_letter_queue),
            dead_letters=[json.loads(message["Body"])["row"] for message in dead_letters.get("Messages", [])],
            stored=[_stored_row(item) async for item in self._items(queue)],
        )

    async def _create_table(self, name: str, sort_key: str, **options: object) -> Mapping[str, Any]:
        """Create a table, and return its description."""
        keys = {"queue": "HASH", sort_key: "RANGE"}
        created = await self._dynamodb.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
            BillingMode="PAY_PER_REQUEST",
            **options,
        )
        description: Mapping[str, Any] = created["TableDescription"]
        return description

    async def _create_queue(self, name: str, is_fifo: bool, **attributes: str) -> str:
        """Create a queue, and return its ARN."""
        kind = {"FifoQueue": "true"} if is_fifo else {}
        created = await self._sqs.create_queue(QueueName=name, Attributes=kind | attributes)
        self.urls[name] = created["QueueUrl"]
        answer = await self._sqs.get_queue_attributes(QueueUrl=self.urls[name], AttributeNames=["QueueArn"])
        return str(answer["Attributes"]["QueueArn"])

    async def _count(self, queue: str) -> int:
        answer = await self._sqs.get_queue_attributes(QueueUrl=self.urls[queue], AttributeNames=list(COUNTS))
        return sum(int(answer["Attributes"][name]) for name in COUNTS)

    async def _items(self, queue: Queue) -> AsyncIterator[Mapping[str, Any]]:
        pages = self._dynamodb.get_paginator("query").paginate(
            TableName=USERS,
            KeyConditionExpression="queue = :queue",
            ExpressionAttributeValues={":queue": {"S": queue.name}},
            ConsistentRead=True,
        )
        async for page in pages:
            for item in page["Items"]:
                yield item


def _entry(queue: Queue, row: Row) -> dict[str, str]:
    entry = {"Id": str(row.number), "MessageBody": row.body()}
    if queue.is_fifo:
        entry |= {"MessageGroupId": row.company, "MessageDeduplicationId": str(row.number)}
    return entry


def _stored_row(item: Mapping[str, Any]) -> StoredRow:
    numbers = {name: int(item[name]["N"]) for name in ("csv_row", "place", "times_stored")}
    email, company = item["email"]["S"], item["company"]["S"]
    return StoredRow(numbers["csv_row"], email, company, numbers["place"], numbers["times_stored"])
