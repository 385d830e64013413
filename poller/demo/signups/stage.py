"""How does the tour create, fill and read the bucket, queues and tables? With plain AWS calls to the emulator.

    bucket uploads    ── notification of incoming/*.csv ──> csv-events
    uploads-done, uploads-failed                            the destinations of process_csv

    buffer-queue.fifo ── redrive ──> failed-rows.fifo          table users       with the keys queue and email
    buffer-queue      ── redrive ──> failed-rows               table companies   with the keys queue and company

The table users has a stream. A record of the stream has the new image of a row.

Source of the queues' attributes: SQS API reference, "CreateQueue". Source of the notification: S3 API reference,
"PutBucketNotificationConfiguration".
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from poller.demo.clients import Clients
from poller.demo.processes import DemoError
from poller.demo.signups.accounting import Held, StoredRow
from poller.demo.signups.story import MAX_RECEIVES, PROCESS_CSV, QUEUES, VISIBILITY_TIMEOUT_IN_SECONDS, Queue

USERS = "users"
COMPANIES = "companies"
BUCKET = "uploads"
INCOMING = "incoming/"
CSV_EVENTS = "csv-events"
DONE = "uploads-done"
FAILED = "uploads-failed"

MESSAGES_PER_CALL = 10
"""The largest number of messages in one ReceiveMessage. Source: SQS API reference."""

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
        self._s3 = clients.s3
        self._process_csv = clients.process_csv
        self._sqs = clients.sqs
        self._dynamodb = clients.dynamodb
        self.urls: dict[str, str] = {}
        self.arns: dict[str, str] = {}

    async def build(self) -> None:
        """Create the queues, the tables, the stream and the bucket."""
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
        for name in (CSV_EVENTS, DONE, FAILED):
            self.arns[name] = await self._create_queue(name, is_fifo=False)
        await self._create_bucket()

    async def upload(self, key: str, text: str) -> None:
        """Upload a file. For each file under `incoming/`, S3 sends a notification to process_csv."""
        await self._s3.put_object(Bucket=BUCKET, Key=key, Body=text.encode())

    async def call(self, key: str) -> int:
        """Call process_csv for a file, and return the number of rows of its answer."""
        record = {"s3": {"bucket": {"name": BUCKET}, "object": {"key": key}}}
        answer = await self._process_csv.invoke(json.dumps({"Records": [record]}).encode(), {})
        if answer.status != 200 or "x-amz-function-error" in answer.headers:
            raise DemoError(f"the call of {PROCESS_CSV} failed with {answer.status}: {answer.body.decode()}")
        return int(json.loads(answer.body)["rows"])

    async def bodies(self, queue: str) -> list[str]:
        """Return the bodies of the messages in the queue, at most ten."""
        answer = await self._sqs.receive_message(
            QueueUrl=self.urls[queue], MaxNumberOfMessages=MESSAGES_PER_CALL, VisibilityTimeout=0
        )
        return [message["Body"] for message in answer.get("Messages", [])]

    async def held(self, queue: Queue) -> Held:
        """Return the rows of this queue that the emulator has now."""
        dead_letters = await self.bodies(queue.dead_letter_queue)
        return Held(
            left_over=await self._count(queue.name),
            dead_letter_count=await self._count(queue.dead_letter_queue),
            dead_letters=[json.loads(body)["row"] for body in dead_letters],
            stored=[_stored_row(item) async for item in self._items(queue)],
        )

    async def _create_bucket(self) -> None:
        await self._s3.create_bucket(Bucket=BUCKET)
        is_incoming = {"Key": {"FilterRules": [{"Name": "prefix", "Value": INCOMING}]}}
        notification = {"QueueArn": self.arns[CSV_EVENTS], "Events": ["s3:ObjectCreated:*"], "Filter": is_incoming}
        await self._s3.put_bucket_notification_configuration(
            Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [notification]}
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


def _stored_row(item: Mapping[str, Any]) -> StoredRow:
    numbers = {name: int(item[name]["N"]) for name in ("csv_row", "place", "times_stored")}
    email, company = item["email"]["S"], item["company"]["S"]
    return StoredRow(numbers["csv_row"], email, company, numbers["place"], numbers["times_stored"])
