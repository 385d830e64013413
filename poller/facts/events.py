"""What happens to the asynchronous events of a function? Each number counts events; no fact has an event's payload."""

from __future__ import annotations

from typing import Literal, NamedTuple

from poller.facts.batches import FAILURE, SECONDS_OF_AGE, SECONDS_OF_WORK
from poller.facts.declaration import Counter, Histogram, Label, Line, declare
from poller.facts.sources import CODE
from poller.model.event import Condition, Delivery
from poller.model.ids import FunctionName, RequestId

CONDITION = Label(
    "reason",
    ("Success", "RetriesExhausted", "EventAgeExceeded", "ZeroReservedConcurrency", "RecursiveInvocation"),
    field="condition",
)
"""AWS's word for how an event ended."""

DELIVERY = Label("delivery", ("on_success", "on_failure", "dead_letter"))
"""The kinds of places to which an ended event is delivered."""

EVENTS_RECEIVED = Counter(
    "poller_events_received_total",
    "Events that were sent to this daemon, whether it stored or refused them. Events that others send to an SQS "
    "event queue do not count.",
    of="function",
)
EVENTS_STORED = Counter(
    "poller_events_stored_total", "Events that this daemon has accepted and stored durably.", of="function"
)
EVENT_ATTEMPTS = Counter(
    "poller_event_attempts_total",
    "Ended invocations of the function with an event, by their outcome.",
    of="function",
    labels=(Label("outcome", ("succeeded", "failed", "throttled", "unreachable")),),
)
EVENT_SECONDS = Histogram(
    "poller_event_invocation_duration_seconds",
    "Time from the start of an invocation with an event to the function's answer.",
    of="function",
    buckets=SECONDS_OF_WORK,
)
EVENTS_ENDED = Counter(
    "poller_events_ended_total",
    "Events that have ended, by AWS's word for the reason.",
    of="function",
    labels=(CONDITION,),
)
EVENT_DELIVERIES = Counter(
    "poller_event_deliveries_total",
    "Ended events that were delivered to a destination or to the dead-letter queue.",
    of="function",
    labels=(DELIVERY,),
)


@declare(Line("debug"), EVENTS_RECEIVED.by("events"), EVENTS_STORED.by("events"))
class EventsStored(NamedTuple):
    """The daemon accepted events and stored them durably in the function's event queue."""

    function: FunctionName
    events: int


@declare(
    Line("warning", once_per=("function", "code")),
    EVENTS_RECEIVED.by("events"),
    Counter(
        "poller_events_refused_total",
        "Events that the daemon did not accept, because the event queue is full or failed, or because the event "
        "is too large.",
        of="function",
    ).by("events"),
)
class EventsRefused(NamedTuple):
    """The daemon did not accept events, and their sender got an error. `code` and `detail` say why."""

    function: FunctionName
    events: int
    code: str
    detail: str


@declare(
    Line("debug", when=lambda fact: fact.outcome == "succeeded", meaning="The function processed an event."),
    Line(
        "warning",
        "event_attempt_failed",
        once_per=("function", FAILURE),
        meaning="The function was invoked with an event and failed. It is invoked with the event again in "
        "`retry_in_seconds`. Without this field, the event has ended.",
    ),
    EVENT_ATTEMPTS.by(1),
    Histogram(
        "poller_event_age_seconds",
        "Age of an event when an invocation with it began.",
        of="function",
        buckets=SECONDS_OF_AGE,
    ).by("age_seconds"),
    EVENT_SECONDS.by("duration_seconds"),
)
class EventInvoked(NamedTuple):
    """The function was invoked with an event, and ran. `attempt` counts the invocations with this event from 1.

    `age_seconds` is the age of the event when the invocation began.
    `reason` and `detail` say why the function failed; they are empty after a success.
    """

    function: FunctionName
    request_id: RequestId
    outcome: Literal["succeeded", "failed"]
    attempt: int
    age_seconds: float
    duration_seconds: float
    reason: str
    detail: str
    log_tail: str
    retry_in_seconds: float | None


@declare(Line("warning", once_per=("function", "outcome")), EVENT_ATTEMPTS.by(1))
class EventPostponed(NamedTuple):
    """The function was throttled or could not be reached, so the event waits. The function is invoked with it again in
    `retry_in_seconds`. Without this field, the event has ended.
    """

    function: FunctionName
    request_id: RequestId
    outcome: Literal["throttled", "unreachable"]
    reason: str
    retry_in_seconds: float | None
    detail: str = ""


@declare(
    Line("debug", when=lambda fact: fact.condition == "Success"),
    Line("warning", once_per=("function", "condition")),
    EVENTS_ENDED.by(1),
)
class EventEnded(NamedTuple):
    """An event ended, so the function is not invoked with it any more. `condition` is AWS's word for the reason.
    `deliveries` names the destinations, or the dead-letter queue, to which the event is now delivered.
    """

    function: FunctionName
    request_id: RequestId
    condition: Condition
    attempts: int
    deliveries: tuple[Delivery, ...]


@declare(
    Line("warning"),  # each time: nothing else says which event it was
    Counter(
        "poller_events_dropped_total",
        "Events that ended without success and are lost. The function has no destination for failures and no "
        "dead-letter queue, or the event is a record about a loop that has come back to the function.",
        of="function",
        labels=(CONDITION,),
    ).by(1),
)
class EventDropped(NamedTuple):
    """An event ended without success, and it is not delivered to any place, so it is lost.

    The function has no destination for failures and no dead-letter queue, or the event is a record about a loop that
    has come back to the function.
    """

    function: FunctionName
    request_id: RequestId
    condition: Condition
    attempts: int


@declare(Line("debug"), EVENT_DELIVERIES.by(1))
class EventDelivered(NamedTuple):
    """A destination accepted the record of an ended event, or the dead-letter queue accepted the event."""

    function: FunctionName
    request_id: RequestId
    delivery: Delivery
    destination: str


@declare(
    Line("warning", once_per=("function", "delivery")),
    Counter(
        "poller_event_records_shortened_total",
        "Records of ended events that were too large, so they were delivered without the function's answer, or also "
        "without the event's payload.",
        of="function",
    ).by(1),
)
class EventRecordShortened(NamedTuple):
    """The record of an ended event was too large for its destination, so it was delivered without the function's
    answer, or without the answer and the event's payload.
    """

    function: FunctionName
    request_id: RequestId
    delivery: Delivery
    destination: str


@declare(
    Line("error", once_per=("function", "delivery", CODE)),
    Counter(
        "poller_event_delivery_failures_total",
        "Failed tries to deliver an ended event to a destination or to the dead-letter queue.",
        of="function",
        labels=(DELIVERY,),
    ).by(1),
)
class EventDeliveryFailed(NamedTuple):
    """A destination or the dead-letter queue did not accept an ended event. The event is kept and delivered again in
    `retry_in_seconds`. Without this field, the event is stuck.
    """

    function: FunctionName
    request_id: RequestId
    delivery: Delivery
    destination: str
    code: str
    detail: str
    retry_in_seconds: float | None


@declare(
    Line("error", once_per=("function",)),
    Counter(
        "poller_events_stuck_total",
        "Times that an ended event became stuck, because a destination or the dead-letter queue refused it "
        "permanently.",
        of="function",
    ).by(1),
)
class EventStuck(NamedTuple):
    """A destination or the dead-letter queue refuses an ended event permanently. The event is kept, and is not
    delivered until a person retries it; a person may also drop it.

    `destinations` are the ARNs or functions that refuse it. `reason` has their errors.
    """

    function: FunctionName
    request_id: RequestId
    condition: Condition
    destinations: tuple[str, ...]
    reason: str


@declare(
    Line("warning", once_per=("function",)),
    Counter(
        "poller_event_claims_lost_total",
        "Events whose claim ended while this daemon worked with them. The function may be invoked with them again.",
        of="function",
    ).by(1),
)
class EventClaimLost(NamedTuple):
    """This daemon worked with an event, and could not extend its claim on the event in time. So another process may
    take the event, and the function may be invoked with it a second time.
    """

    function: FunctionName
    request_id: RequestId


@declare(Line("warning"))
class EventsOrphaned(NamedTuple):
    """Events wait for a function that the settings no longer have. A person must drop the events, or add the function
    again.
    """

    function: FunctionName
    events: int


@declare(
    Line("error"),
    Counter(
        "poller_events_crashes_total",
        "Times that a fault in poller itself stopped the handling of a function's events.",
        of="function",
    ).by(1),
)
class EventsCrashed(NamedTuple):
    """A fault in poller itself stopped the handling of a function's events. It starts again in `retry_in_seconds`."""

    function: FunctionName
    error: BaseException
    retry_in_seconds: float
