"""Which fake replaces SQS? A service in memory with SQS's own JSON, on anyio's clock.

    SqsSource ──call──> FakeSqs ──(faults, latency, long polling)──> FakeQueue

`FakeSqs` is a `Client` like the clients of aws/. So the real `SqsSource` runs over it, and contract tests use it like
an emulator. `tests/fakes/queue.py` says how a queue behaves, and `faults.py` which calls fail.

A long poll wakes when a message is sent or becomes visible, and when a message group becomes free.
If a receive is cancelled or times out while its answer is on the way, its messages are in flight. If it is cancelled
while it waits, it may continue as a ghost and take the next messages. In both cases, the queue's history has
`answer_lost`.

Simpler than SQS: permissions, tags, changes of a queue's attributes and everything else that no test needs are missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import anyio
import orjson

from poller.errors import AccessDenied, NotFound, Rejected, ServiceError, Throttled, Unreachable
from poller.model.arn import Arn, queue_url
from poller.sources.sqs import SqsSource
from tests.fakes.clock import date_header, service_clock
from tests.fakes.faults import Fault, FaultPlan
from tests.fakes.queue import LONGEST_VISIBILITY_IN_SECONDS, Failure, FakeQueue, Wire


class Poll(NamedTuple):
    """A receive that waits at the service. It has the request and the end of the wait."""

    asked: int
    until: float
    is_long: bool
    visibility_timeout_in_seconds: int | None
    attempt_id: str | None


class FakeSqs:
    """The queues of one account in one region, by url. `seed` is the seed of the queues.

    The faults have their own seed.
    """

    def __init__(
        self, *, seed: int = 0, faults: FaultPlan | None = None, endpoint_url: str = "http://sqs.fake"
    ) -> None:
        self.faults = faults or FaultPlan()
        self.clock = service_clock()
        self._seed = seed
        self._endpoint_url = endpoint_url
        self._queues: dict[str, FakeQueue] = {}
        self._changed: dict[str, anyio.Event] = {}
        self._ghosts: dict[str, list[Poll]] = {}

    def create_queue(self, name: str, **settings: Any) -> FakeQueue:
        """Create a queue. `settings` are fields of FakeQueue."""
        arn = Arn(partition="aws", service="sqs", region="eu-west-1", account="123456789012", resource=name)
        url = queue_url(self._endpoint_url, arn)
        assert url not in self._queues
        queue = FakeQueue(arn=arn, **{"seed": self._seed + len(self._queues)} | settings)
        queue.on_change = lambda: self._wake(url)
        self._queues[url] = queue
        self._ghosts[url] = []
        return queue

    def delete_queue(self, queue: FakeQueue) -> None:
        """Delete a queue. Polls that wait fail when they use the queue next."""
        url = self.url(queue)
        del self._queues[url]
        self._set_changed(url)

    def url(self, queue: FakeQueue) -> str:
        return queue_url(self._endpoint_url, queue.arn)

    def send(self, queue: FakeQueue, body: str, **options: Any) -> str:
        """Send a message without faults, and return its id. `options` are arguments of FakeQueue.send."""
        return queue.send(body, now=anyio.current_time(), **options)

    def source(self, queue: FakeQueue, *, has_batching_window: bool = False) -> SqsSource:
        """Return the real source over the queue."""
        return SqsSource(self, arn=queue.arn, queue_url=self.url(queue), has_batching_window=has_batching_window)

    async def call(self, operation: str, body: bytes, *, timeout_in_seconds: float) -> Any:
        """Answer one request. Raise only errors.ServiceError."""
        asked_at = anyio.current_time()
        try:
            request = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise Rejected("the request is not JSON", code="SerializationException") from error
        answer = await self._call(operation, request, timeout_in_seconds)
        self.clock.correct(self.date, asked_at=asked_at)
        return answer

    @property
    def date(self) -> str:
        """Return the Date header of an answer that is written now."""
        return date_header()

    async def _call(self, operation: str, request: Wire, timeout_in_seconds: float) -> Any:
        fault = self.faults.draw(operation, anyio.current_time())
        with anyio.move_on_after(timeout_in_seconds):
            if operation == "ReceiveMessage":
                return await self._receive(request, fault)
            await self._way_there(fault)
            answer = self._answer(operation, request)
            await self.faults.way_back(fault)
            return answer
        raise Unreachable(f"no answer within {timeout_in_seconds:g} s", code="Timeout", was_sent=True)

    async def _way_there(self, fault: Fault) -> None:
        await anyio.sleep(self.faults.latency())
        match fault:
            case Fault.THROTTLED:
                raise Throttled("Rate exceeded", code="RequestThrottled")
            case Fault.UNREACHABLE:
                raise Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
            case Fault.ACCESS_DENIED:
                raise AccessDenied("not authorized", code="AccessDeniedException")
            case Fault.NOT_FOUND:
                raise _no_such_queue()

    async def _receive(self, request: Mapping[str, Any], fault: Fault) -> Any:
        poll = _poll(request, anyio.current_time())
        queue, url = self._queue(request), request["QueueUrl"]
        try:
            await self._way_there(fault)
            messages = await self._wait_for_messages(url, poll)
        except anyio.get_cancelled_exc_class():
            if self.faults.leaves_a_ghost(anyio.current_time()):
                self._ghosts[url].append(poll)
            raise
        try:
            await self.faults.way_back(fault)
        except (anyio.get_cancelled_exc_class(), ServiceError):
            queue.answer_lost(messages, now=anyio.current_time())
            raise
        return {"Messages": [_selected(wire, request) for wire in messages]} if messages else {}

    async def _wait_for_messages(self, url: str, poll: Poll) -> list[Wire]:
        while True:
            queue, now = self._queue({"QueueUrl": url}), anyio.current_time()
            self._serve_ghosts(url)
            messages = _polled(queue, poll, now)
            if messages or now >= poll.until:
                return messages
            change_at = queue.next_change_at()
            wake_at = poll.until if change_at is None else min(poll.until, change_at)
            changed = self._changed.setdefault(url, anyio.Event())
            with anyio.move_on_after(wake_at - now):
                await changed.wait()

    def _wake(self, url: str) -> None:
        self._serve_ghosts(url)
        self._set_changed(url)

    def _set_changed(self, url: str) -> None:
        if url in self._changed:
            self._changed.pop(url).set()

    def _serve_ghosts(self, url: str) -> None:
        """Give messages to the polls whose client has disconnected, before all other polls.

        Each takes messages at most once.
        """
        ghosts, self._ghosts[url] = self._ghosts[url], []
        queue, now = self._queues[url], anyio.current_time()
        for ghost in ghosts:
            if now >= ghost.until:
                continue
            messages = _polled(queue, ghost, now)
            queue.answer_lost(messages, now=now)
            if not messages:
                self._ghosts[url].append(ghost)

    def _answer(self, operation: str, request: Mapping[str, Any]) -> Any:
        now = anyio.current_time()
        if operation == "CreateQueue":
            return self._create_queue(request)
        queue = self._queue(request)
        match operation:
            case "SendMessage":
                return {"MessageId": _send(queue, request, now)}
            case "SendMessageBatch":
                return self._batch(request, lambda entry: _send_entry(queue, entry, now))
            case "GetQueueAttributes":
                attributes, names = _attributes(queue, now), request["AttributeNames"]
                wanted = attributes if "All" in names else names
                return {"Attributes": {name: attributes[name] for name in wanted if name in attributes}}
            case "DeleteMessageBatch":
                return self._batch(request, lambda entry: queue.delete(entry["ReceiptHandle"], now=now))
            case "ChangeMessageVisibilityBatch":
                return self._batch(request, lambda entry: _change_visibility(queue, entry, now))
        raise Rejected(f"unknown operation {operation}", code="InvalidAction")

    def _create_queue(self, request: Mapping[str, Any]) -> Any:
        attributes = request.get("Attributes", {})
        settings: dict[str, Any] = {}
        if "VisibilityTimeout" in attributes:
            settings["visibility_timeout_in_seconds"] = int(attributes["VisibilityTimeout"])
        if "MaximumMessageSize" in attributes:
            settings["maximum_message_bytes"] = int(attributes["MaximumMessageSize"])
        if "MessageRetentionPeriod" in attributes:
            settings["retention_in_seconds"] = int(attributes["MessageRetentionPeriod"])
        if "RedrivePolicy" in attributes:
            policy = orjson.loads(attributes["RedrivePolicy"])
            by_arn = {str(queue.arn): queue for queue in self._queues.values()}
            settings["dead_letter_queue"] = by_arn[policy["deadLetterTargetArn"]]
            settings["maximum_receive_count"] = int(policy["maxReceiveCount"])
        settings["has_content_based_deduplication"] = attributes.get("ContentBasedDeduplication") == "true"
        return {"QueueUrl": self.url(self.create_queue(request["QueueName"], **settings))}

    def _queue(self, request: Mapping[str, Any]) -> FakeQueue:
        queue = self._queues.get(request["QueueUrl"])
        if queue is None:
            raise _no_such_queue()
        return queue

    def _batch(self, request: Mapping[str, Any], act: Any) -> Any:
        """Do the entries one by one. If the plan lets an entry fail, the entry has no effect."""
        entries = request["Entries"]
        if not 1 <= len(entries) <= 10 or len({entry["Id"] for entry in entries}) != len(entries):
            raise Rejected("one to ten entries with distinct ids are wanted", code="TooManyEntriesInBatchRequest")
        answer: dict[str, list[Any]] = {"Successful": [], "Failed": []}
        for entry in entries:
            by_plan = self.faults.entry_fails(anyio.current_time())
            failure = Failure("InternalError", "by plan") if by_plan else act(entry)
            if failure is None:
                answer["Successful"].append({"Id": entry["Id"]})
            else:
                fault = {"Id": entry["Id"], "SenderFault": not by_plan}
                answer["Failed"].append(fault | {"Code": failure.code, "Message": failure.message})
        return answer


def _poll(request: Mapping[str, Any], now: float) -> Poll:
    count, wait = request.get("MaxNumberOfMessages", 1), request.get("WaitTimeSeconds", 0)
    timeout = request.get("VisibilityTimeout")
    if not 1 <= count <= 10 or not 0 <= wait <= 20 or not 0 <= (timeout or 0) <= LONGEST_VISIBILITY_IN_SECONDS:
        raise Rejected(f"a parameter of the receive is out of range: {request}", code="InvalidParameterValue")
    return Poll(count, now + wait, wait > 0, timeout, request.get("ReceiveRequestAttemptId"))


def _polled(queue: FakeQueue, poll: Poll, now: float) -> list[Wire]:
    return queue.receive(
        poll.asked,
        now=now,
        is_long_poll=poll.is_long,
        visibility_timeout_in_seconds=poll.visibility_timeout_in_seconds,
        attempt_id=poll.attempt_id if queue.is_fifo else None,
    )


def _selected(wire: Wire, request: Mapping[str, Any]) -> Wire:
    """Return a message with the requested attributes. A request must ask for all attributes or for none."""
    asked_for_system = [*request.get("MessageSystemAttributeNames", ()), *request.get("AttributeNames", ())]
    left_out = set() if "All" in asked_for_system else {"Attributes"}
    if "All" not in request.get("MessageAttributeNames", ()):
        left_out |= {"MessageAttributes", "MD5OfMessageAttributes"}
    return {name: value for name, value in wire.items() if name not in left_out}


def _send(queue: FakeQueue, request: Mapping[str, Any], now: float) -> str:
    return queue.send(
        request["MessageBody"],
        now=now,
        group=request.get("MessageGroupId"),
        deduplication_id=request.get("MessageDeduplicationId"),
        attributes=request.get("MessageAttributes"),
        trace_header=request.get("MessageSystemAttributes", {}).get("AWSTraceHeader", {}).get("StringValue"),
        delay_in_seconds=request.get("DelaySeconds"),
    )


def _send_entry(queue: FakeQueue, entry: Mapping[str, Any], now: float) -> None:
    _send(queue, entry, now)


def _attributes(queue: FakeQueue, now: float) -> dict[str, str]:
    visible, delayed, in_flight = queue.counts(now)
    attributes: dict[str, object] = {
        "ApproximateNumberOfMessages": visible,
        "ApproximateNumberOfMessagesDelayed": delayed,
        "ApproximateNumberOfMessagesNotVisible": in_flight,
        "MaximumMessageSize": queue.maximum_message_bytes,
        "MessageRetentionPeriod": queue.retention_in_seconds,
        "VisibilityTimeout": queue.visibility_timeout_in_seconds,
    }
    if queue.dead_letter_queue is not None:
        attributes["RedrivePolicy"] = f'{{"maxReceiveCount":{queue.maximum_receive_count}}}'
    return {name: str(value) for name, value in attributes.items()}


def _change_visibility(queue: FakeQueue, entry: Mapping[str, Any], now: float) -> Failure | None:
    if not 0 <= entry["VisibilityTimeout"] <= LONGEST_VISIBILITY_IN_SECONDS:
        return Failure("InvalidParameterValue", "VisibilityTimeout is out of range.")
    return queue.change_visibility(entry["ReceiptHandle"], entry["VisibilityTimeout"], now=now)


def _no_such_queue() -> NotFound:
    return NotFound("The specified queue does not exist.", code="QueueDoesNotExist")
