"""What is an asynchronous event? A payload that was accepted for a function, and is invoked later.

    accepted ──> taken ──> invoked ──┬──> put back: it is due again later (a failure, a throttle)
                                     └──> ended ──> delivered to destinations and dead-letter queue ──> removed
                                                        └──> stuck: a destination refuses its record for good

An event is in one queue from the moment it is accepted until it is removed.
Its attempts, times and request id are stored with it, so a crash forgets none of them.

Source: AWS Lambda Developer Guide, "Invoking a Lambda function asynchronously", "Capturing records of Lambda
asynchronous invocations".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from poller.model.ids import FunctionName, RequestId

CLAIM_IN_SECONDS = 60
"""How long a claim lasts unless it is extended. So long the events of a killed process are delayed."""

MAXIMUM_PAYLOAD_BYTES = 1_048_576
"""The largest payload of an event. Source: AWS Lambda Developer Guide, "Lambda quotas", asynchronous invocation."""

Condition = Literal["Success", "RetriesExhausted", "EventAgeExceeded", "ZeroReservedConcurrency", "RecursiveInvocation"]
"""How an event ended, in the words of AWS's invocation record."""

Delivery = Literal["on_success", "on_failure", "dead_letter"]
"""One of the places to which an ended event is delivered: a destination, or the dead-letter queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastAttempt:
    """What the last call of the function answered, as far as an invocation record states it.

    `status_code` is 200 if the function ran, 429 if it was throttled, 404 if it does not exist, 500 if the service
    failed, and 400 if the event cannot be invoked.
    `executed_version` and `function_error` are None where the record leaves them out.
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
    """How an event ended, and which deliveries it still needs.

    `at` is the time of the end in epoch seconds. `last` is None if the function was never called.
    `rejections` counts how often the deliveries were rejected for good, since `rejected_since` (epoch seconds).
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
    `accepted_at` is when the event was accepted for the first time; its age counts from here.
    `invoked_arn` is the function's ARN as the client wrote it; None means the function's own ARN.
    `trace` is the value of the header X-Amzn-Trace-Id with its Lineage field; it is empty if there is none.
    `traceparent` is the W3C header of that name; it is empty if there is none.
    `attempts` counts the calls that count towards the maximum. `postponements` counts the throttles and service errors
    since the last of these calls.
    `due_at` is when the event may be taken. `last` is the last answer without its payload, for an event that waits.
    `ending` is None until the event has ended.
    `stuck` says why the event is not taken any more, until a person retries or drops it; it is empty otherwise.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenEvent:
    """An event that this process has claimed. `handle` identifies the claim for the queue that gave it.

    Nobody else takes the event before `claimed_until` (epoch seconds), unless the claim is extended.
    """

    event: Event
    handle: str
    claimed_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventQueueDepth:
    """How many events of one function a queue holds.

    `waiting` counts the events that are due or become due, `in_flight` the claimed ones, `stuck` the stuck ones.
    `oldest_accepted_at` is when the oldest of them was accepted, in epoch seconds.
    It is None if there is none, or if the queue cannot tell.
    """

    waiting: int
    in_flight: int
    stuck: int = 0
    oldest_accepted_at: float | None = None
