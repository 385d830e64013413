"""What is an asynchronous event? A payload that the daemon has accepted, and with which it invokes a function later.

    accepted ──> taken ──> invoked ──┬──> returned to the queue, and due again later (a failure, a throttle)
                                     └──> ended ──> delivered to destinations and dead-letter queue ──> removed
                                                        └──> stuck: a destination does not accept the record

A queue stores the event from the moment it is accepted until it is removed.
The queue also stores the event's attempts, times and request id, so a crash does not lose them.

Source: AWS Lambda Developer Guide, "Invoking a Lambda function asynchronously", "Capturing records of Lambda
asynchronous invocations".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from poller.model.arn import Arn
from poller.model.ids import FunctionName, RequestId

CLAIM_IN_SECONDS = 60
"""How long a claim lasts unless it is extended. The events of a killed process wait at most for this time."""

MAXIMUM_PAYLOAD_BYTES = 1_048_576
"""The largest payload of an event. Source: AWS Lambda Developer Guide, "Lambda quotas", asynchronous invocation."""

MOST_BYTES_TAKEN = 16 * 2**20
"""The most bytes that one take gets, with payloads and answers. We chose it above SQS's ten messages of 1 MiB each.

An event with more bytes is taken alone.
"""

Condition = Literal["Success", "RetriesExhausted", "EventAgeExceeded", "ZeroReservedConcurrency", "RecursiveInvocation"]
"""How an event ended, in the words of AWS's invocation record."""

Delivery = Literal["on_success", "on_failure", "dead_letter"]
"""One of the places to which an ended event is delivered: a destination, or the dead-letter queue."""

EventAction = Literal["retry", "drop"]
"""What a person may order about a stuck event: try its deliveries again at once, or remove the event for good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt:
    """The last attempt with an event, as an invocation record shows it.

    `status_code` is 200 if the function ran, 429 if it was throttled, 404 if it does not exist, 500 if the service
    failed, and 400 if the event cannot be invoked.
    `executed_version` and `function_error` are None if the record leaves them out.
    `payload` is the function's answer or its error document, as JSON; None if there is none.
    `error_message` is the text for the dead-letter message; it is empty after a success.
    """

    status_code: int
    executed_version: str | None = None
    function_error: str | None = None
    payload: bytes | None = None
    error_message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The end of an event: how it ended, and which deliveries it still needs.

    `at` is the time of the end in epoch seconds. `last` is None if no attempt was made.
    `rejections` is the number of rounds of deliveries in which every failure was lasting, since `rejected_since` (epoch
    seconds).
    """

    condition: Condition
    at: float
    last: LastAttempt | None
    deliveries: tuple[Delivery, ...]
    rejections: int = 0
    rejected_since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An accepted event. All times are epoch seconds.

    `function` is a key of [functions]. `payload` is JSON, as the sender sent it.
    `request_id` is the same for every attempt.
    `accepted_at` is when the event was accepted for the first time; the event's age counts from this time.
    `invoked_arn` is the function's ARN as the client wrote it; None means the function's own ARN.
    `trace` is the value of the header X-Amzn-Trace-Id with its Lineage field; it is empty if there is none.
    `traceparent` is the W3C header of that name; it is empty if there is none.
    `attempts` counts the attempts in which the function may have run. `postponements` counts the throttles and service
    errors since the last of these attempts.
    `due_at` is when the event may be taken. `last` is the last answer without its payload, while the event waits for
    another attempt.
    `ending` is None until the event has ended.
    `stuck` is the reason why the event is not taken until a person retries or drops it; empty if it is not stuck.
    """

    request_id: RequestId
    function: FunctionName
    payload: bytes
    accepted_at: float
    due_at: float
    invoked_arn: str | None = None
    trace: str = ""
    traceparent: str = ""
    attempts: int = 0
    postponements: int = 0
    last: LastAttempt | None = None
    ending: Ending | None = None
    stuck: str = ""

    @property
    def size_in_bytes(self) -> int:
        """Return how many bytes the payload and the answer for the destinations have."""
        last = None if self.ending is None else self.ending.last
        return len(self.payload) + (len(last.payload) if last is not None and last.payload is not None else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenEvent:
    """An event that this process has claimed. `handle` identifies the claim in the event's queue.

    No other process gets the event before `claimed_until` (epoch seconds).
    """

    event: Event
    handle: str
    claimed_until: float


class RememberedQueue(NamedTuple):
    """An SQS queue that has, or had, the events of a function."""

    arn: Arn
    function: FunctionName


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQueueDepth:
    """The number of events of one function in a queue, in each state.

    `waiting` counts the events that are due now or later, `in_flight` the claimed events, `stuck` the stuck events.
    `oldest_accepted_at` is when the oldest of all these events was accepted, in epoch seconds.
    `oldest_accepted_at` is None if there is no event, or if the queue does not know the time.
    """

    waiting: int
    in_flight: int
    stuck: int = 0
    oldest_accepted_at: float | None = None
