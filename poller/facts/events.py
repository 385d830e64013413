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
"""Which of the places where an ended event is delivered."""

EVENTS_RECEIVED = Counter(
    "poller_events_received_total",
    "Events that were sent to this daemon, stored or refused; not those that others put into an SQS event queue.",
    of="function",
)
EVENTS_STORED = Counter(
    "poller_events_stored_total", "Events that this daemon has stored durably and accepted.", of="function"
)
EVENT_ATTEMPTS = Counter(
    "poller_event_attempts_total",
    "Invocations with an event that ended, by what they mean for the event.",
    of="function",
    labels=(Label("outcome", ("succeeded", "failed", "throttled", "unreachable")),),
)
EVENTS_ENDED = Counter(
    "poller_events_ended_total", "Events that ended, by AWS's word for why.", of="function", labels=(CONDITION,)
)
EVENT_DELIVERIES = Counter(
    "poller_event_deliveries_total",
    "Ended events that a destination or the dead-letter queue accepted.",
    of="function",
    labels=(DELIVERY,),
)


@declare(Line("debug"), EVENTS_RECEIVED.by("events"), EVENTS_STORED.by("events"))
class EventsStored(NamedTuple):
    """Events were accepted: they are stored durably in the function's event queue."""

    function: FunctionName
    events: int


@declare(
    Line("warning", once_per=("function", "code")),
    EVENTS_RECEIVED.by("events"),
    Counter(
        "poller_events_refused_total",
        "Events that were not accepted, because the event queue is full, failed, or does not take events of that size.",
        of="function",
    ).by("events"),
)
class EventsRefused(NamedTuple):
    """Events were not accepted, and their sender was told so; `code` and `detail` say why."""

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
        meaning="One attempt with an event failed. It is tried again later, unless event_ended follows.",
    ),
    EVENT_ATTEMPTS.by(1),
    Histogram(
        "poller_event_age_seconds",
        "Time from the acceptance of an event to the start of an invocation with it.",
        of="function",
        buckets=SECONDS_OF_AGE,
    ).by("age_seconds"),
    Histogram(
        "poller_event_invocation_duration_seconds",
        "Time from the start of an invocation with an event to its answer.",
        of="function",
        buckets=SECONDS_OF_WORK,
    ).by("duration_seconds"),
)
class EventInvoked(NamedTuple):
    """The function ran with an event. `attempt` counts the invocations with this event from 1.

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


@declare(Line("warning", once_per=("function", "outcome")), EVENT_ATTEMPTS.by(1))
class EventPostponed(NamedTuple):
    """The function was throttled or could not be reached, so the event waits and is tried again later."""

    function: FunctionName
    request_id: RequestId
    outcome: Literal["throttled", "unreachable"]
    reason: str
    detail: str = ""


@declare(
    Line("debug", when=lambda fact: fact.condition == "Success"),
    Line("warning", once_per=("function", "condition")),
    EVENTS_ENDED.by(1),
)
class EventEnded(NamedTuple):
    """An event ended. `condition` is AWS's word for why; `deliveries` are the places where it is delivered now."""

    function: FunctionName
    request_id: RequestId
    condition: Condition
    attempts: int
    deliveries: tuple[Delivery, ...]


@declare(
    Line("warning"),  # each time: nothing else says which event it was
    Counter(
        "poller_events_dropped_total",
        "Events that ended without success and were delivered nowhere, because the function has neither a destination "
        "for failures nor a dead-letter queue, or because these are part of a loop.",
        of="function",
        labels=(CONDITION,),
    ).by(1),
)
class EventDropped(NamedTuple):
    """An event ended without success, and nothing keeps it.

    The function has no place for failed events, or this place is part of a loop.
    """

    function: FunctionName
    request_id: RequestId
    condition: Condition
    attempts: int


@declare(Line("debug"), EVENT_DELIVERIES.by(1))
class EventDelivered(NamedTuple):
    """A destination or the dead-letter queue accepted an ended event."""

    function: FunctionName
    request_id: RequestId
    delivery: Delivery
    destination: str


@declare(
    Line("warning", once_per=("function", "delivery")),
    Counter(
        "poller_event_records_shortened_total",
        "Records of ended events that were delivered without payloads, because they were too large with them.",
        of="function",
    ).by(1),
)
class EventRecordShortened(NamedTuple):
    """A record was delivered without the payload of the answer, or without both payloads: it was too large."""

    function: FunctionName
    request_id: RequestId
    delivery: Delivery
    destination: str


@declare(
    Line("error", once_per=("function", "delivery", CODE)),
    Counter(
        "poller_event_delivery_failures_total",
        "Deliveries of ended events that a destination or the dead-letter queue did not accept, counted at each try.",
        of="function",
        labels=(DELIVERY,),
    ).by(1),
)
class EventDeliveryFailed(NamedTuple):
    """A destination or the dead-letter queue did not accept an ended event, which is kept.

    It is delivered again in `retry_in_seconds`; None means that it is stuck.
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
        "Times that an ended event became stuck, because a place of delivery refused it for good.",
        of="function",
    ).by(1),
)
class EventStuck(NamedTuple):
    """An ended event is kept and not delivered any more, until a person retries or drops it."""

    function: FunctionName
    request_id: RequestId
    condition: Condition
    reason: str


@declare(
    Line("warning", once_per=("function",)),
    Counter(
        "poller_event_claims_lost_total",
        "Events whose claim ended while this daemon held them; another daemon may invoke the function with them again.",
        of="function",
    ).by(1),
)
class EventClaimLost(NamedTuple):
    """The claim on an event ended while this daemon held it, so the event may be taken a second time."""

    function: FunctionName
    request_id: RequestId


@declare(
    Line("error", when=lambda fact: fact.needs_action, once_per=("function", CODE)),
    Line("warning", once_per=("function", CODE)),
    Counter(
        "poller_event_queue_errors_total",
        "Calls to the event queue that failed: answered with an error, or not answered.",
        of="function",
    ).by(1),
)
class EventQueueFailed(NamedTuple):
    """A call to the function's event queue failed, and is made again in `retry_in_seconds`. If `needs_action` is true,
    waiting will hardly help, so a person should act.
    """

    function: FunctionName
    queue: str
    operation: str
    code: str
    detail: str
    retry_in_seconds: float
    needs_action: bool


@declare(Line("info"))
class EventQueueRecovered(NamedTuple):
    """The function's event queue answers again, and the places of delivery accept its ended events."""

    function: FunctionName


@declare(Line("warning"))
class EventsOrphaned(NamedTuple):
    """Events wait for a function that the settings no longer have; a person drops them, or adds the function again."""

    function: FunctionName
    events: int


@declare(
    Line("error"),
    Counter(
        "poller_events_crashes_total",
        "Times that the asynchronous events of a function stopped by a fault of poller itself.",
        of="function",
    ).by(1),
)
class EventsCrashed(NamedTuple):
    """A fault of poller itself stopped the events of a function, which go on in `retry_in_seconds`."""

    function: FunctionName
    error: BaseException
    retry_in_seconds: float
