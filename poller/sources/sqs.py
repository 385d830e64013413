"""How is an SQS queue read? Receive messages, delete them, and change their visibility, up to ten in one call.

Requests and answers are SQS's JSON. The parts of a request that never change are rendered once.
`core/envelope.py` makes the records from the answers.
A batch call with status 200 may still name entries that failed; each of them becomes a `RejectedEntry`.

The queue's url is made from its ARN. So the daemon needs no permission to look the url up, and queues of other accounts
and of emulators need no special case.

Sources: Amazon SQS API Reference, "ReceiveMessage", "DeleteMessageBatch", "ChangeMessageVisibilityBatch",
"BatchResultErrorEntry".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any

import anyio
import orjson

from poller.core.envelope import encode, sqs_record
from poller.core.queues.visibility import LONGEST_IN_SECONDS
from poller.errors import Unreachable
from poller.model.arn import Arn
from poller.model.backlog import QueueDepth
from poller.model.ids import MessageGroupId, MessageId, ReceiptHandle
from poller.model.message import Message, QueueAttributes, RejectedEntry
from poller.ports import SourceClock
from poller.sources.answers import MISREADINGS, understood
from poller.sources.client import Client
from poller.sources.receive_attempts import ReceiveAttempts

SERVICE = "SQS"

MAXIMUM_MESSAGES_IN_A_CALL = 10
"""The most messages or entries in one call. Source: Amazon SQS API Reference."""

ANSWER_TIMEOUT_IN_SECONDS = 10.0
"""How long an answer may take, in addition to the wait of a long poll.

We chose it above any latency of a healthy service.
"""

ATTRIBUTES = b',"AttributeNames":["All"],"MessageSystemAttributeNames":["All"],"MessageAttributeNames":["All"]'
"""Asks for all attributes. The first two names mean the same; an emulator from before 2024 knows only the first."""

COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)
"""The attributes of a queue that are the fields of `QueueDepth`, in their order."""

CODE_CHARACTERS = 64
"""How many characters of a failed entry's error code are kept. SQS's own codes are shorter."""

FINAL_CODES = frozenset({"InvalidParameterValue", "InvalidIdFormat", "MessageNotInflight", "ReceiptHandleIsInvalid"})
"""The codes for a receipt handle that never works again. After any other code, a retry may succeed.

The handle is unknown, expired or replaced by a newer one, or its message has been hidden for 12 hours.
"""


class SqsSource:
    """One queue, as `ports.QueueSource`. The client is opened and closed by the composition root.

    With `has_batching_window`, a record without message attributes has a null `md5OfMessageAttributes`, as on AWS.
    """

    def __init__(
        self,
        client: Client,
        *,
        arn: Arn,
        queue_url: str,
        has_batching_window: bool,
        attempts: ReceiveAttempts | None = None,
    ) -> None:
        """Make a source. All sources of FIFO queues share `attempts`. A standard queue needs no attempts."""
        self._client = client
        self._arn = str(arn)
        self._region = arn.region
        self._null_md5_when_absent = has_batching_window
        self._attempts = (attempts or ReceiveAttempts()) if arn.resource.endswith(".fifo") else None
        self._queue = b'{"QueueUrl":' + orjson.dumps(queue_url)
        self._receive = self._queue + ATTRIBUTES

    @property
    def clock(self) -> SourceClock:
        return self._client.clock

    async def describe(self) -> QueueAttributes:
        """Return the queue's visibility timeout.

        Raises NotFound, AccessDenied, or Rejected for an answer that SQS cannot have sent.
        """
        [seconds] = await self._attributes("visibility timeout", "VisibilityTimeout", most=LONGEST_IN_SECONDS)
        return QueueAttributes(visibility_timeout_in_seconds=seconds)

    async def depth(self) -> QueueDepth:
        """Return SQS's own counts of the queue's messages, which lag by up to a minute."""
        return QueueDepth(*await self._attributes("numbers of messages", *COUNTS))

    async def receive(
        self, *, count: int, wait_in_seconds: int, visibility_timeout_in_seconds: int | None
    ) -> list[Message]:
        """Receive up to `count` (1 to 10) messages, waiting up to `wait_in_seconds` for the first.

        If a receive from a FIFO queue was cancelled or lost its answer, a later receive asks for the same messages.
        """
        assert 1 <= count <= MAXIMUM_MESSAGES_IN_A_CALL
        body = self._receive + b',"MaxNumberOfMessages":%d,"WaitTimeSeconds":%d' % (count, wait_in_seconds)
        if visibility_timeout_in_seconds is not None:
            body += b',"VisibilityTimeout":%d' % visibility_timeout_in_seconds
        timeout_in_seconds = wait_in_seconds + ANSWER_TIMEOUT_IN_SECONDS
        if self._attempts is None:
            answer = await self._call("ReceiveMessage", body + b"}", timeout_in_seconds)
        else:
            answer = await self._attempt(self._attempts, body, count, timeout_in_seconds)
        with understood(SERVICE, "messages"):
            messages = answer.get("Messages") or []
            if not isinstance(messages, list):
                raise TypeError
        return [self._message(wire) for wire in messages]

    async def delete(self, messages: Sequence[Message]) -> list[RejectedEntry]:
        """Delete up to ten messages, and return those that SQS did not delete.

        SQS reports success for a message that no longer exists. A standard queue also reports success for an old
        receipt handle, but then the message may stay.
        """
        entries = [{"Id": str(index), "ReceiptHandle": message[1]} for index, message in enumerate(messages)]
        return await self._call_batch("DeleteMessageBatch", messages, entries)

    async def change_visibility(self, messages: Sequence[Message], *, timeout_in_seconds: int) -> list[RejectedEntry]:
        """Hide up to ten messages for this time from now, and return those that SQS did not hide.

        SQS hides a message for at most 12 hours in all after its receive.
        """
        entries = [
            {"Id": str(index), "ReceiptHandle": message[1], "VisibilityTimeout": timeout_in_seconds}
            for index, message in enumerate(messages)
        ]
        return await self._call_batch("ChangeMessageVisibilityBatch", messages, entries)

    async def _attempt(self, attempts: ReceiveAttempts, body: bytes, count: int, timeout_in_seconds: float) -> Any:
        attempt = attempts.begin(self._arn, count, now=anyio.current_time())
        body += b',"ReceiveRequestAttemptId":"%b"}' % attempt.attempt_id.encode()
        try:
            return await self._call("ReceiveMessage", body, timeout_in_seconds)
        except Unreachable as error:
            if error.was_sent:
                attempts.lost(self._arn, attempt, now=anyio.current_time())
            raise
        except anyio.get_cancelled_exc_class():
            attempts.lost(self._arn, attempt, now=anyio.current_time())
            raise

    async def _attributes(self, meaning: str, *names: str, most: float = inf) -> list[int]:
        """Return attributes of the queue that are whole numbers from 0 to `most`."""
        answer = await self._call("GetQueueAttributes", self._queue + b',"AttributeNames":%b}' % encode(names))
        with understood(SERVICE, meaning):
            values = [int(answer["Attributes"][name]) for name in names]
            if not all(0 <= value <= most for value in values):
                raise ValueError("an attribute is not in its range")
            return values

    async def _call_batch(
        self, operation: str, messages: Sequence[Message], entries: list[dict[str, Any]]
    ) -> list[RejectedEntry]:
        assert len(messages) <= MAXIMUM_MESSAGES_IN_A_CALL
        if not messages:
            return []
        answer = await self._call(operation, b'%b,"Entries":%b}' % (self._queue, encode(entries)))
        with understood(SERVICE, "results"):
            named = {str(index): message for index, message in enumerate(messages)}
            codes = {failed["Id"]: failed["Code"] for failed in answer.get("Failed") or ()}
            return [_rejected_entry(named[entry_id], code) for entry_id, code in codes.items()]

    async def _call(self, operation: str, body: bytes, timeout_in_seconds: float = ANSWER_TIMEOUT_IN_SECONDS) -> Any:
        return await self._client.call(operation, body, timeout_in_seconds=timeout_in_seconds)

    def _message(self, wire: Mapping[str, Any]) -> Message:
        """Parse a message. A message that lacks a part of its event gets a `defect`; the others are still delivered."""
        try:
            record = sqs_record(
                wire, arn=self._arn, region=self._region, null_md5_when_absent=self._null_md5_when_absent
            )
            attributes = record["attributes"]
            # A message of a standard queue may have a group too (fair queues), but that group does not order messages.
            group = None if self._attempts is None else attributes["MessageGroupId"]
            texts = [record["messageId"], record["receiptHandle"], record["body"], record["md5OfBody"]]
            texts += attributes.values()
            if record["messageAttributes"]:
                texts.append(record["md5OfMessageAttributes"])
                for each in record["messageAttributes"].values():
                    texts += (each["dataType"], each.get("stringValue") or each.get("binaryValue") or "")
            "".join(texts)  # raises TypeError for any other type: a nested document might be too deep to encode
        except MISREADINGS as error:
            defect = f"no {error.args[0]}" if isinstance(error, KeyError) else "misshapen"
            return self._defective(wire, defect)
        try:
            sent_at = int(attributes["SentTimestamp"]) / 1000
        except (KeyError, ValueError, OverflowError):
            sent_at = self.clock.now()
        return Message(record["messageId"], record["receiptHandle"], group, sent_at, record)

    def _defective(self, wire: Any, defect: str) -> Message:
        """Return a message with a defect. It keeps its group, so that later messages of the group wait for it."""
        texts = wire if isinstance(wire, dict) else {}
        attributes = texts.get("Attributes")
        group = attributes.get("MessageGroupId") if self._attempts and isinstance(attributes, dict) else None
        return Message(
            MessageId(_text(texts.get("MessageId"))),
            ReceiptHandle(_text(texts.get("ReceiptHandle"))),
            MessageGroupId(group) if isinstance(group, str) else None,
            self.clock.now(),
            {},
            defect,
        )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _rejected_entry(message: Message, code: str) -> RejectedEntry:
    return RejectedEntry(message=message, code=code[:CODE_CHARACTERS], is_final=is_final(code))


def is_final(code: str) -> bool:
    """Return whether a failed entry's code says that the receipt handle never works again.

    Some codes have the prefix of SQS's older protocol, such as `AWS.SimpleQueueService.MessageNotInflight`.
    """
    return code.rpartition(".")[2] in FINAL_CODES
