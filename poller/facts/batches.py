"""What happens to the batches of any mapping? `BatchInvoked` is emitted for each batch, thousands a second."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from poller.facts.declaration import Counter, Histogram, Label, Line, declare
from poller.model.ids import FunctionName, MappingName, RequestId

FAILURE = Label(
    "reason",
    (
        "Unhandled",
        "Sandbox.Timedout",
        "Runtime.ExitError",
        "Runtime.OutOfMemory",
        "InvalidResponse",
        "LostAnswer",
    ),
    is_open=True,
)
"""The reason why an invocation failed. A function chooses its error types itself."""

SECONDS_OF_WORK = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    *(30, 60, 300, 900, 1800, 3600, 10_800, 42_000),
)
SECONDS_OF_AGE = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 4 * 24 * 3600)
RECORDS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)

RECORDS_POLLED = Counter("poller_records_polled_total", "Records that were read from the source.", of="mapping")
RECORDS_FILTERED_OUT = Counter(
    "poller_records_filtered_out_total", "Records that matched none of the mapping's filters.", of="mapping"
)
RECORDS_INVOKED = Counter(
    "poller_records_invoked_total",
    "Records in invocations that have ended. A record counts again each time that it is retried.",
    of="mapping",
)
RECORDS_FAILED = Counter(
    "poller_records_failed_total",
    "Records of failed invocations, and records that a function reported as failed. In a stream, the first "
    "reported record and all records after it have failed.",
    of="mapping",
)

INVOCATION_SECONDS = Histogram(
    "poller_invocation_duration_seconds",
    "Time from the start of an invocation to the function's answer.",
    of="mapping",
    buckets=SECONDS_OF_WORK,
)
INVOCATIONS_POSTPONED = Counter(
    "poller_invocations_postponed_total",
    "Attempts to invoke a function that was throttled or could not be reached. The batch waits and is tried again.",
    of="mapping",
    labels=(Label("reason", ("throttled", "unreachable"), field="cause"),),
)


@declare(Line("debug"), RECORDS_FILTERED_OUT.by("records"))
class RecordsFilteredOut(NamedTuple):
    """Records matched none of the mapping's filters, so they are done, and the function does not get them."""

    mapping: MappingName
    records: int


@declare(
    Line(
        "debug",
        when=lambda fact: fact.outcome == "succeeded",
        meaning="The function was invoked with a batch and succeeded.",
    ),
    Line(
        "warning",
        "batch_partly_failed",
        when=lambda fact: fact.outcome == "partly_failed",
        once_per=("mapping",),
        meaning="The function was invoked with a batch, and reported some of its records as failed "
        "(batchItemFailures). These records are tried again.",
    ),
    Line(
        "warning",
        "batch_failed",
        once_per=("mapping", FAILURE),
        meaning="The function was invoked with a batch and failed: it raised an error, timed out or crashed. The "
        "records are tried again, unless their retries are used up.",
    ),
    Counter(
        "poller_invocations_total",
        "Ended invocations of the function with a batch.",
        of="mapping",
        labels=(Label("function"), Label("outcome", ("succeeded", "partly_failed", "failed"))),
    ).by(1),
    Counter(
        "poller_invocation_failures_total",
        "Invocations in which the whole batch failed.",
        of="mapping",
        labels=(FAILURE,),
    ).by(1, when=lambda fact: fact.outcome == "failed"),
    RECORDS_INVOKED.by("records"),
    RECORDS_FAILED.by("failed"),
    Histogram("poller_batch_records", "Records in an invocation.", of="mapping", buckets=RECORDS).by("records"),
    INVOCATION_SECONDS.by("duration_seconds"),
    Histogram(
        "poller_oldest_record_age_seconds",
        "Age of the oldest record of a batch when its invocation began.",
        of="mapping",
        buckets=SECONDS_OF_AGE,
    ).by("oldest_record_age_seconds"),
)
class BatchInvoked(NamedTuple):
    """An invocation with a batch has ended.

    `failed` is the number of records that are not done. `reason` and `detail` say why. They are empty after a success.
    `oldest_record_age_seconds` is the age of the batch's oldest record when the invocation began.
    """

    mapping: MappingName
    function: FunctionName
    request_id: RequestId
    outcome: Literal["succeeded", "partly_failed", "failed"]
    records: int
    failed: int
    attempt: int
    duration_seconds: float
    oldest_record_age_seconds: float
    reason: str
    detail: str
    log_tail: str


@declare(
    Line("warning", once_per=("mapping", "is_throttled")),
    INVOCATIONS_POSTPONED.by(1),
)
class InvocationPostponed(NamedTuple):
    """The function was throttled or could not be reached, so the batch waits. The function is invoked with it again in
    `retry_in_seconds`.
    """

    mapping: MappingName
    function: FunctionName
    records: int
    attempt: int
    reason: str
    retry_in_seconds: float
    is_throttled: bool
    detail: str = ""

    @property
    def cause(self) -> Literal["throttled", "unreachable"]:
        return "throttled" if self.is_throttled else "unreachable"


@declare(
    Line("warning", once_per=("mapping",)),
    Counter(
        "poller_events_too_large_total",
        "Batches of several records that were too large for the function and were split in two.",
        of="mapping",
    ).by(1),
)
class EventTooLarge(NamedTuple):
    """A batch of several records is too large for the function, so it is split in two. The function is invoked with
    each half.
    """

    mapping: MappingName
    function: FunctionName
    records: int
    event_bytes: int
    reason: str


@declare(Line("warning", once_per=("mapping",), pause_in_seconds=math.inf))
class BatchItemFailuresIgnored(NamedTuple):
    """The function reported failed records in a way that has no effect, so these records count as done. `advice` says
    what to change.

    This is logged once for each mapping.
    """

    mapping: MappingName
    function: FunctionName
    advice: str
