"""Which metrics are there? Every name, its meaning and its labels, in one place.

Counters and histograms are moved by facts (`recorder.py`); gauges are read when someone scrapes (`gauges.py`).
Every series of a mapping exists at zero from the moment when the mapping is added, so that a dashboard finds it and
the first increase is seen; it is removed when the mapping is.  The same holds for functions.
What only a queue or only a stream knows, has series for mappings of that kind alone.
A family is a dict from labels to the bound `inc` or `observe` of that series: a lookup and a call, for the hot facts.

What AWS has too, under "Types of metrics for Lambda functions":

    PolledEventCount        poller_records_polled_total         InvokedEventCount       poller_records_invoked_total
    FilteredOutEventCount   poller_records_filtered_out_total   FailedInvokeEventCount  poller_records_failed_total
    DroppedEventCount       poller_records_dropped_total        DeletedEventCount       poller_messages_deleted_total
    OnFailureDestinationDeliveredEventCount                     poller_records_reported_total
    DestinationDeliveryFailures                                 poller_destination_errors_total
    IteratorAge             poller_iterator_age_seconds, of what is not done yet, also while no batch gets through
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

from poller import __version__
from poller.model.ids import FunctionName, MappingName
from poller.model.status import MappingStatus
from poller.telemetry.gauges import StatusCollector
from poller.telemetry.labels import BoundedValues

Labels = str | tuple[str, ...]

RECORDS_POLLED = "poller_records_polled_total"
RECORDS_FILTERED_OUT = "poller_records_filtered_out_total"
RECORDS_INVOKED = "poller_records_invoked_total"
RECORDS_FAILED = "poller_records_failed_total"
MESSAGES_DELETED = "poller_messages_deleted_total"
RECORDS_DISCARDED = "poller_records_discarded_total"

OUTCOMES = ("succeeded", "partly_failed", "failed")
POSTPONEMENTS = ("throttled", "unreachable")
FATES_OF_A_REFUSED_CALL = ("retried", "given_up")
RUNTIME_API_REFUSALS = ("not_the_child", "too_many")
CHILD_EXITS = ("idle", "timeout", "exit", "init_error", "out_of_memory", "shutdown")
REASONS_TO_DISCARD = ("RetryAttemptsExhausted", "RecordAgeExceeded")
FAILURES = (
    "Unhandled",
    "Sandbox.Timedout",
    "Runtime.ExitError",
    "Runtime.OutOfMemory",
    "InvalidResponse",
    "LostAnswer",
)

SOURCE_CODES = (
    "AWS.SimpleQueueService.NonExistentQueue",
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "InternalError",
    "InvalidClientTokenId",
    "OverLimit",
    "ProvisionedThroughputExceededException",
    "QueueDoesNotExist",
    "RequestThrottled",
    "ResourceNotFoundException",
    "ServiceUnavailable",
    "ThrottlingException",
)

STORE_CODES = ("FileGone", "SQLITE_BUSY", "SQLITE_CORRUPT", "SQLITE_FULL", "SQLITE_IOERR")

_SECONDS_OF_WORK = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
    10,
    30,
    60,
    300,
    900,
    1800,
    3600,
    10_800,
    42_000,
)
_SECONDS_OF_AGE = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 6 * 3600, 24 * 3600, 4 * 24 * 3600)
_RECORDS = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)


class Series(dict[Labels, Callable[[float], None]]):
    """The bound `inc` or `observe` for each set of labels, made when it is first asked for.

    The first label names the owner, a mapping or a function.
    A fact about an owner that has not begun, or is forgotten, moves nothing: no late fact brings its series back.
    `known` are the values of the last label that exist from the start, if it has any.
    """

    def __init__(self, family: Counter | Histogram | Gauge, known: Sequence[str] = ()) -> None:
        super().__init__()
        self._family = family
        self._known = known
        self._owners: set[str] = set()

    def begin(self, *labels: str) -> None:
        """Show these labels, with each of the known values, at zero."""
        self._owners.add(labels[0])
        if not self._known:
            _ = self[labels if len(labels) > 1 else labels[0]]
        for value in self._known:
            _ = self[*labels, value]

    def forget(self, owner: str) -> None:
        """Remove all series of this owner."""
        self._owners.discard(owner)
        for labels in [labels for labels in self if _in_full(labels)[0] == owner]:
            del self[labels]
            self._family.remove(*_in_full(labels))

    def __missing__(self, labels: Labels) -> Callable[[float], None]:
        if _in_full(labels)[0] not in self._owners:
            return _ignore
        child = self._family.labels(*_in_full(labels))
        call = child.observe if isinstance(child, Histogram) else child.inc
        self[labels] = call
        return call


def _in_full(labels: Labels) -> tuple[str, ...]:
    return (labels,) if isinstance(labels, str) else labels


def _ignore(_amount: float) -> None: ...


class Metrics:
    """All metrics of one daemon, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.source_codes = BoundedValues(SOURCE_CODES)
        self.store_codes = BoundedValues(STORE_CODES)
        self.failure_reasons = BoundedValues(FAILURES)
        self._of_mappings: list[Series] = []
        self._of_queues: list[Series] = []
        self._of_streams: list[Series] = []
        self._of_functions: list[Series] = []
        self._declare_process()
        self._declare_records()
        self._declare_invocations()
        self._declare_queues()
        self._declare_streams()
        self._declare_troubles()
        self._declare_children()

    def begin_mapping(self, mapping: MappingName, function: FunctionName, *, is_stream: bool) -> None:
        """Show every series of this mapping, at zero if it is new."""
        self.invocations.begin(mapping, function)
        for series in (*self._of_mappings, *(self._of_streams if is_stream else self._of_queues)):
            series.begin(mapping)

    def forget_mapping(self, mapping: MappingName) -> None:
        for series in (self.invocations, *self._of_mappings, *self._of_queues, *self._of_streams):
            series.forget(mapping)

    def begin_function(self, function: FunctionName) -> None:
        """Show every series of this function, at zero if it is new."""
        for series in self._of_functions:
            series.begin(function)

    def forget_function(self, function: FunctionName) -> None:
        for series in self._of_functions:
            series.forget(function)

    def watch(self, statuses: Callable[[], Sequence[MappingStatus]]) -> None:
        """Read the gauges from these statuses at every scrape."""
        self.registry.register(StatusCollector(statuses))

    def _declare_process(self) -> None:
        build = Info("poller_build", "The program that runs.", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def _declare_records(self) -> None:
        def counter(name: str, meaning: str) -> Series:
            return self._counter(name, meaning, self._of_mappings)

        self.records_polled = counter(RECORDS_POLLED, "Records read from the source.")
        self.records_filtered_out = counter(RECORDS_FILTERED_OUT, "Records that matched no filter.")
        self.records_invoked = counter(RECORDS_INVOKED, "Records handed to the function; counts again on each retry.")
        self.records_failed = counter(
            RECORDS_FAILED,
            "Records of failed invocations and records named as failed; in a stream, all from the first named one on.",
        )

    def _declare_invocations(self) -> None:
        invocations = Counter(
            "poller_invocations_total",
            "Invocations that have ended.",
            ("mapping", "function", "outcome"),
            registry=self.registry,
        )
        self.invocations = Series(invocations, OUTCOMES)
        self.invocation_failures = self._counter(
            "poller_invocation_failures_total",
            "Invocations that failed as a whole.",
            self._of_mappings,
            labels=("mapping", "reason"),
            known=self.failure_reasons.known,
        )
        self.invocations_postponed = self._counter(
            "poller_invocations_postponed_total",
            "Tries that a throttled or unreachable function did not take; the batch stays in hand.",
            self._of_mappings,
            labels=("mapping", "reason"),
            known=POSTPONEMENTS,
        )
        self.events_too_large = self._counter(
            "poller_events_too_large_total",
            "Events of several records that were too large for the function; the records go on as two batches.",
            self._of_mappings,
        )
        self.invocation_duration = self._histogram(
            "poller_invocation_duration_seconds", "Time from call to answer.", self._of_mappings, _SECONDS_OF_WORK
        )
        self.batch_records = self._histogram(
            "poller_batch_records", "Records in an invocation.", self._of_mappings, _RECORDS
        )
        self.oldest_record_age = self._histogram(
            "poller_oldest_record_age_seconds",
            "Age of a batch's oldest record when its invocation began.",
            self._of_mappings,
            _SECONDS_OF_AGE,
        )

    def _declare_queues(self) -> None:
        def counter(name: str, meaning: str) -> Series:
            return self._counter(name, meaning, self._of_queues)

        self.records_deleted = counter(MESSAGES_DELETED, "Messages deleted from their queue.")
        self.receives = counter("poller_receives_total", "Receives that were answered.")
        self.empty_receives = counter("poller_empty_receives_total", "Receives that returned no message.")
        self.delete_failures = self._counter(
            "poller_delete_failures_total",
            "Messages whose delete was refused, at each try.",
            self._of_queues,
            labels=("mapping", "outcome"),
            known=FATES_OF_A_REFUSED_CALL,
        )
        self.visibility_extensions = counter(
            "poller_visibility_extensions_total", "Messages kept invisible for longer."
        )
        self.visibility_failures = self._counter(
            "poller_visibility_change_failures_total",
            "Messages whose visibility could not be changed, at each try.",
            self._of_queues,
            labels=("mapping", "outcome"),
            known=FATES_OF_A_REFUSED_CALL,
        )
        self.receipts_expired = counter(
            "poller_receipts_expired_total", "Messages dropped uninvoked because their receipt had expired."
        )
        self.messages_released = counter(
            "poller_messages_released_total", "Messages given back to their queue at a stop."
        )

    def _declare_streams(self) -> None:
        def counter(name: str, meaning: str) -> Series:
            return self._counter(name, meaning, self._of_streams)

        def by_reason(name: str, meaning: str) -> Series:
            return self._counter(
                name, meaning, self._of_streams, labels=("mapping", "reason"), known=REASONS_TO_DISCARD
            )

        self.retries = counter("poller_retries_total", "Batches that failed and were put off to be invoked again.")
        self.bisections = counter("poller_bisections_total", "Batches that failed and went on as two halves.")
        self.shard_blocks = counter("poller_shard_blocks_total", "Times that a lane of a shard became blocked.")
        self.records_discarded = by_reason(RECORDS_DISCARDED, "Records that were given up, reported or not.")
        self.records_dropped = by_reason(
            "poller_records_dropped_total", "Records that were given up and reported to no destination."
        )
        self.records_delivered = counter(
            "poller_records_reported_total", "Records given up whose failure record reached the destination."
        )
        self.invocation_records = counter(
            "poller_invocation_records_delivered_total", "Reports of discarded batches that the destination took."
        )
        self.invocation_record_failures = counter(
            "poller_destination_errors_total",
            "Reports of discarded batches that the destination did not take, each try.",
        )
        self.positions_trimmed = counter(
            "poller_positions_trimmed_total",
            "Shards that resumed at TRIM_HORIZON because their checkpoint had expired.",
        )

        self.store_errors = self._counter(
            "poller_store_errors_total",
            "Calls that the position store refused or did not answer.",
            self._of_streams,
            labels=("mapping", "code"),
            known=self.store_codes.known,
        )

    def _declare_troubles(self) -> None:
        self.source_errors = self._counter(
            "poller_source_errors_total",
            "Calls that the source refused or did not answer.",
            self._of_mappings,
            labels=("mapping", "code"),
            known=self.source_codes.known,
        )
        self.mapping_crashes = self._counter(
            "poller_mapping_crashes_total", "Crashes of a mapping by a fault of poller itself.", self._of_mappings
        )

    def _declare_children(self) -> None:
        children = Gauge("poller_child_processes", "Child processes alive.", ("function",), registry=self.registry)
        self.children = self._series(self._of_functions, children)
        self.child_starts = self._counter(
            "poller_child_process_starts_total", "Child processes started.", self._of_functions, labels=("function",)
        )
        self.child_exits = self._counter(
            "poller_child_process_exits_total",
            "Child processes ended.",
            self._of_functions,
            labels=("function", "reason"),
            known=CHILD_EXITS,
        )
        self.child_output_lines_left_out = self._counter(
            "poller_child_process_lines_left_out_total",
            "Lines that child processes wrote and that were not logged, because the function wrote too many.",
            self._of_functions,
            labels=("function",),
        )
        self.runtime_api_refusals = self._counter(
            "poller_runtime_api_connections_refused_total",
            "Refused connections to the Runtime API of a child: another process made them, or the child has too many.",
            self._of_functions,
            labels=("function", "reason"),
            known=RUNTIME_API_REFUSALS,
        )
        self.endpoints_put_aside = self._counter(
            "poller_endpoint_suspensions_total",
            "Times that a url of a function's pool was put aside.",
            self._of_functions,
            labels=("function",),
        )

    def _counter(
        self,
        name: str,
        meaning: str,
        group: list[Series],
        labels: Sequence[str] = ("mapping",),
        known: Sequence[str] = (),
    ) -> Series:
        """One series for each owner, which the first label names, or for each value of its second label."""
        return self._series(group, Counter(name, meaning, labels, registry=self.registry), known)

    def _histogram(self, name: str, meaning: str, group: list[Series], buckets: Sequence[float]) -> Series:
        return self._series(group, Histogram(name, meaning, ("mapping",), buckets=buckets, registry=self.registry))

    def _series(self, group: list[Series], family: Counter | Histogram | Gauge, known: Sequence[str] = ()) -> Series:
        series = Series(family, known)
        group.append(series)
        return series
