"""Which metrics and which log line does each fact have?"""

from __future__ import annotations

import gc
import re
from types import FunctionType, ModuleType
from typing import Any

import pytest
from structlog.testing import capture_logs

from poller import facts
from poller.facts import BatchInvoked, Fact
from poller.facts.declaration import DECLARATIONS, Counter, Label, metrics
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.lease import Owner, RowKey
from poller.model.stream import ShardId
from poller.telemetry.series import MetricCollector
from poller.telemetry.subject import Subject
from poller.telemetry.telemetry import Telemetry

ORDERS = MappingName("orders")
INVOICES = MappingName("invoices")
CLICKS = MappingName("clicks")
VIEWS = MappingName("views")
STORE = FunctionName("store")
URL = "http://127.0.0.1:1"
SHARD = ShardId("shardId-000000000001")

ALLOWED_LABELS = {"mapping", "function", "outcome", "reason", "code", "delivery", "le", "version", "python"}


ID = RequestId("8f3")


def invoked(**changes: Any) -> BatchInvoked:
    batch = BatchInvoked(
        mapping=ORDERS,
        function=STORE,
        request_id=RequestId("8f3"),
        outcome="succeeded",
        records=10,
        failed=0,
        attempt=1,
        duration_seconds=0.02,
        oldest_record_age_seconds=3.0,
        reason="",
        detail="",
        log_tail="",
    )
    return batch._replace(**changes)


FAILED = invoked(outcome="failed", failed=10, reason="KeyError", detail="'user'", log_tail="… END")

INVOKED_SERIES = {
    "poller_records_invoked_total{mapping=orders}": 10,
    "poller_batch_records_count{mapping=orders}": 1,
    "poller_batch_records_sum{mapping=orders}": 10,
    "poller_invocation_duration_seconds_count{mapping=orders}": 1,
    "poller_invocation_duration_seconds_sum{mapping=orders}": 0.02,
    "poller_oldest_record_age_seconds_count{mapping=orders}": 1,
    "poller_oldest_record_age_seconds_sum{mapping=orders}": 3.0,
}

EVENT_INVOKED_SERIES = {
    "poller_event_age_seconds_count{function=store}": 1,
    "poller_event_age_seconds_sum{function=store}": 3.0,
    "poller_event_invocation_duration_seconds_count{function=store}": 1,
    "poller_event_invocation_duration_seconds_sum{function=store}": 0.02,
}

RELOADED = facts.Reloaded(
    settings="p.toml",
    added=(ORDERS,),
    replaced=(),
    removed=(),
    failed=(),
    functions_added=(),
    functions_replaced=(),
    functions_removed=(),
    events_replaced=(),
    options=(),
    needs_restart=(),
)

EXPECTATIONS: list[tuple[Fact, str, str, dict[str, float]]] = [
    (facts.DaemonStarted(version="1", settings="poller.toml", mappings=2), "info", "daemon_started", {}),
    (facts.DaemonStopping(stage="draining", batches_in_flight=3), "info", "daemon_stopping", {}),
    (
        facts.MappingReady(mapping=ORDERS, source="arn", function=STORE, visibility_timeout_in_seconds=30),
        "info",
        "mapping_ready",
        {},
    ),
    (
        facts.SourceFailed(
            mapping=ORDERS,
            source="arn",
            operation="receive",
            code="ClientOSError",
            detail="reset",
            retry_in_seconds=1.0,
        ),
        "warning",
        "source_failed",
        {"poller_source_errors_total{code=ClientOSError,mapping=orders}": 1},
    ),
    (
        facts.SourceFailed(
            mapping=ORDERS,
            source="arn",
            operation="describe",
            code="AccessDenied",
            detail="no",
            retry_in_seconds=1.0,
            needs_action=True,
        ),
        "error",
        "source_failed",
        {"poller_source_errors_total{code=AccessDenied,mapping=orders}": 1},
    ),
    (facts.SourceRecovered(mapping=ORDERS), "info", "source_recovered", {}),
    (
        facts.MappingCrashed(mapping=ORDERS, error=ZeroDivisionError(), retry_in_seconds=1.0),
        "error",
        "mapping_crashed",
        {"poller_mapping_crashes_total{mapping=orders}": 1},
    ),
    (facts.MappingPausedByRequest(ORDERS), "info", "mapping_paused_by_request", {}),
    (facts.MappingResumedByRequest(ORDERS), "info", "mapping_resumed_by_request", {}),
    (
        facts.MessagesReceived(ORDERS, 10),
        "debug",
        "messages_received",
        {"poller_receives_total{mapping=orders}": 1, "poller_records_polled_total{mapping=orders}": 10},
    ),
    (
        facts.MessagesReceived(ORDERS, 0),
        "debug",
        "messages_received",
        {"poller_receives_total{mapping=orders}": 1, "poller_empty_receives_total{mapping=orders}": 1},
    ),
    (
        facts.RecordsFilteredOut(ORDERS, 4),
        "debug",
        "records_filtered_out",
        {"poller_records_filtered_out_total{mapping=orders}": 4},
    ),
    (
        invoked(),
        "debug",
        "batch_invoked",
        INVOKED_SERIES | {"poller_invocations_total{function=store,mapping=orders,outcome=succeeded}": 1},
    ),
    (
        invoked(outcome="partly_failed", failed=2),
        "warning",
        "batch_partly_failed",
        INVOKED_SERIES
        | {
            "poller_invocations_total{function=store,mapping=orders,outcome=partly_failed}": 1,
            "poller_records_failed_total{mapping=orders}": 2,
        },
    ),
    (
        FAILED,
        "warning",
        "batch_failed",
        INVOKED_SERIES
        | {
            "poller_invocations_total{function=store,mapping=orders,outcome=failed}": 1,
            "poller_invocation_failures_total{mapping=orders,reason=KeyError}": 1,
            "poller_records_failed_total{mapping=orders}": 10,
        },
    ),
    (
        facts.InvocationPostponed(ORDERS, STORE, 10, 1, "429", 1.0, True),
        "warning",
        "invocation_postponed",
        {"poller_invocations_postponed_total{mapping=orders,reason=throttled}": 1},
    ),
    (
        facts.InvocationPostponed(ORDERS, STORE, 10, 1, "connection refused", 1.0, False),
        "warning",
        "invocation_postponed",
        {"poller_invocations_postponed_total{mapping=orders,reason=unreachable}": 1},
    ),
    (facts.MappingWaiting(ORDERS, STORE, "function store is throttled: 429"), "warning", "mapping_waiting", {}),
    (facts.MappingWaitEnded(ORDERS, STORE, 61.2345), "info", "mapping_wait_ended", {}),
    (
        facts.MessagesDeleted(ORDERS, 9),
        "debug",
        "messages_deleted",
        {"poller_messages_deleted_total{mapping=orders}": 9},
    ),
    (
        facts.DeleteFailed(ORDERS, 2, "InternalError", False),
        "warning",
        "delete_failed",
        {"poller_delete_failures_total{mapping=orders,outcome=retried}": 2},
    ),
    (
        facts.DeleteFailed(ORDERS, 2, "ReceiptHandleIsInvalid", True),
        "warning",
        "delete_failed",
        {"poller_delete_failures_total{mapping=orders,outcome=given_up}": 2},
    ),
    (
        facts.VisibilityExtended(ORDERS, 7),
        "debug",
        "visibility_extended",
        {"poller_visibility_extensions_total{mapping=orders}": 7},
    ),
    (
        facts.VisibilityChangeFailed(ORDERS, 1, "MessageNotInflight", True),
        "warning",
        "visibility_change_failed",
        {"poller_visibility_change_failures_total{mapping=orders,outcome=given_up}": 1},
    ),
    (
        facts.ReceiptsExpired(ORDERS, STORE, 3, 31.5),
        "warning",
        "receipts_expired",
        {"poller_receipts_expired_total{mapping=orders}": 3},
    ),
    (
        facts.MessagesReleased(ORDERS, 5),
        "info",
        "messages_released",
        {"poller_messages_released_total{mapping=orders}": 5},
    ),
    (
        facts.RecordsRead(CLICKS, 10),
        "debug",
        "records_read",
        {"poller_records_polled_total{mapping=clicks}": 10},
    ),
    (
        facts.BatchRetried(CLICKS, SHARD, 3, 1, "KeyError", 0.5),
        "debug",
        "batch_retried",
        {"poller_retries_total{mapping=clicks}": 1},
    ),
    (
        facts.BatchBisected(CLICKS, SHARD, 3, "KeyError"),
        "debug",
        "batch_bisected",
        {"poller_bisections_total{mapping=clicks}": 1},
    ),
    (
        facts.ShardBlocked(CLICKS, SHARD, "KeyError"),
        "warning",
        "shard_blocked",
        {"poller_shard_blocks_total{mapping=clicks}": 1},
    ),
    (facts.ShardUnblocked(CLICKS, SHARD, 12.5), "info", "shard_unblocked", {}),
    (
        facts.RecordsDropped(CLICKS, 3, "RecordAgeExceeded"),
        "warning",
        "records_dropped",
        {
            "poller_records_discarded_total{mapping=clicks,reason=RecordAgeExceeded}": 3,
            "poller_records_dropped_total{mapping=clicks,reason=RecordAgeExceeded}": 3,
        },
    ),
    (
        facts.InvocationRecordDelivered(CLICKS, 3, "RetryAttemptsExhausted"),
        "warning",
        "invocation_record_delivered",
        {
            "poller_records_discarded_total{mapping=clicks,reason=RetryAttemptsExhausted}": 3,
            "poller_records_reported_total{mapping=clicks}": 3,
            "poller_invocation_records_delivered_total{mapping=clicks}": 1,
        },
    ),
    (
        facts.DestinationFailed(CLICKS, 3, "NoSuchBucket", "there is none", True, None),
        "error",
        "destination_failed",
        {"poller_destination_errors_total{mapping=clicks}": 1},
    ),
    (
        facts.PositionTrimmed(CLICKS, SHARD, "AFTER_SEQUENCE_NUMBER 1"),
        "error",
        "position_trimmed",
        {"poller_positions_trimmed_total{mapping=clicks}": 1},
    ),
    (facts.CheckpointsLost(3, (RowKey("clicks/arn/shardId-000000000001"),)), "error", "checkpoints_lost", {}),
    (facts.LeasesTaken(3), "info", "leases_taken", {"poller_leases_taken_total{}": 3}),
    (facts.LeasesGivenAway(2), "info", "leases_given_away", {"poller_leases_given_away_total{}": 2}),
    (facts.LeasesLost(4), "warning", "leases_lost", {"poller_leases_lost_total{}": 4}),
    (facts.LostLeasesFound(Owner("blue/1f"), 4), "info", "lost_leases_found", {}),
    (facts.LostLeaseRowsCreated(2, (RowKey("m/arn/s"),)), "warning", "lost_lease_rows_created", {}),
    (facts.LeasesRenewedLate(2, 1.5), "warning", "leases_renewed_late", {"poller_leases_renewed_late_total{}": 2}),
    (facts.LeasesRequested(3), "debug", "leases_requested", {"poller_leases_requested_total{}": 3}),
    (
        facts.LeaseReceived(RowKey("clicks/arn/shardId-000000000001"), 0.04),
        "debug",
        "lease_received",
        {
            "poller_lease_hand_over_seconds_count{}": 1,
            "poller_lease_hand_over_seconds_sum{}": 0.04,
        },
    ),
    (
        facts.LeaseTableFailed("renew leases", "NoAnswer", "no answer for 3 s", 0.5),
        "warning",
        "lease_table_failed",
        {"poller_lease_table_errors_total{}": 1},
    ),
    (
        facts.LeaseTableFailed("renew leases", "AccessDenied", "not authorized", 0.5, needs_action=True),
        "error",
        "lease_table_failed",
        {"poller_lease_table_errors_total{}": 1},
    ),
    (facts.MappingCannotRun(ORDERS, "there is no table", 2.0), "error", "mapping_cannot_run", {}),
    (facts.KclTableWatched(ORDERS, "my-application", 2, 60.0), "info", "kcl_table_watched", {}),
    (facts.LeaseTableRecovered(), "info", "lease_table_recovered", {}),
    (facts.WorkerStarted(worker=2, pid=7), "info", "worker_started", {}),
    (
        facts.WorkerEnded(worker=2, pid=7, exit_status=-9, restart_in_seconds=0.5),
        "warning",
        "worker_ended",
        {"poller_worker_restarts_total{}": 1},
    ),
    (
        facts.WorkerEnded(worker=2, pid=7, exit_status=0, restart_in_seconds=0.0),
        "info",
        "worker_ended",
        {"poller_worker_restarts_total{}": 1},
    ),
    (facts.WorkerEnded(worker=2, pid=7, exit_status=2), "error", "worker_ended", {}),
    (facts.WorkerNotChanged(worker=2, detail="the daemon stops"), "error", "worker_not_changed", {}),
    (facts.TooFewFileDescriptors(limit=1024, needed=1320), "warning", "too_few_file_descriptors", {}),
    (RELOADED, "info", "reloaded", {"poller_reloads_total{}": 1}),
    (facts.ChangeMade("pause", "uid 1000, pid 42", "not paused", ORDERS), "info", "change_made", {}),
    (facts.FunctionRestartedByRequest(STORE), "info", "function_restarted_by_request", {}),
    (facts.MappingNotChanged(ORDERS, "the disk is full"), "error", "mapping_not_changed", {}),
    (facts.ControlSocketFailed("the control socket /p: in use"), "warning", "control_socket_failed", {}),
    (
        facts.ReloadRefused("p.toml", ("a: b",)),
        "error",
        "reload_refused",
        {"poller_reloads_refused_total{}": 1},
    ),
    (facts.ReloadNotMade("p.toml", "the daemon stops"), "warning", "reload_not_made", {}),
    (facts.StateOpened(state="sqlite:///var/lib/poller/poller.db", positions=4), "info", "state_opened", {}),
    (facts.SettingsWarning("mappings.orders.x: really?"), "warning", "settings_warning", {}),
    (
        facts.ChildProcessStarted(function=STORE, pid=7),
        "info",
        "child_process_started",
        {"poller_child_process_starts_total{function=store}": 1, "poller_child_processes{function=store}": 1},
    ),
    (
        facts.ChildProcessStopped(function=STORE, pid=7, reason="idle", exit_status=0),
        "info",
        "child_process_stopped",
        {
            "poller_child_process_exits_total{function=store,reason=idle}": 1,
            "poller_child_processes{function=store}": -1,
        },
    ),
    (
        facts.ChildProcessStopped(function=STORE, pid=7, reason="timeout", exit_status=-9),
        "warning",
        "child_process_stopped",
        {
            "poller_child_process_exits_total{function=store,reason=timeout}": 1,
            "poller_child_processes{function=store}": -1,
        },
    ),
    (
        facts.ChildProcessOutput(function=STORE, pid=7, stream="stdout", line="hello"),
        "info",
        "child_process_output",
        {},
    ),
    (
        facts.ChildProcessOutputLeftOut(function=STORE, lines=12),
        "warning",
        "child_process_output_left_out",
        {"poller_child_process_lines_left_out_total{function=store}": 12},
    ),
    (
        facts.RuntimeApiConnectionRejected(function=STORE, child_pid=7, reason="another_process"),
        "warning",
        "runtime_api_connection_rejected",
        {"poller_runtime_api_connections_rejected_total{function=store,reason=another_process}": 1},
    ),
    (
        facts.RuntimeApiConnectionRejected(function=STORE, child_pid=7, reason="closed"),
        "debug",
        "runtime_api_connection_rejected",
        {"poller_runtime_api_connections_rejected_total{function=store,reason=closed}": 1},
    ),
    (
        facts.UrlSuspended(function=STORE, url=URL, detail="refused", retry_in_seconds=1.0),
        "warning",
        "url_suspended",
        {"poller_url_suspensions_total{function=store}": 1},
    ),
    (
        facts.ReadThrottled(CLICKS, SHARD, "ProvisionedThroughputExceededException", 1.0),
        "debug",
        "read_throttled",
        {"poller_source_errors_total{code=ProvisionedThroughputExceededException,mapping=clicks}": 1},
    ),
    (
        facts.EventTooLarge(ORDERS, STORE, 10, 2_000_000, "HTTP.413"),
        "warning",
        "event_too_large",
        {"poller_events_too_large_total{mapping=orders}": 1},
    ),
    (
        facts.BatchItemFailuresIgnored(ORDERS, STORE, "the key must be batchItemFailures"),
        "warning",
        "batch_item_failures_ignored",
        {},
    ),
    (
        facts.EventsStored(STORE, 4),
        "debug",
        "events_stored",
        {"poller_events_received_total{function=store}": 4, "poller_events_stored_total{function=store}": 4},
    ),
    (
        facts.EventsRefused(STORE, 4, "QueueFull", "full"),
        "warning",
        "events_refused",
        {"poller_events_received_total{function=store}": 4, "poller_events_refused_total{function=store}": 4},
    ),
    (
        facts.EventInvoked(STORE, ID, "succeeded", 1, 3.0, 0.02, "", "", "", None),
        "debug",
        "event_invoked",
        EVENT_INVOKED_SERIES | {"poller_event_attempts_total{function=store,outcome=succeeded}": 1},
    ),
    (
        facts.EventInvoked(STORE, ID, "failed", 1, 3.0, 0.02, "KeyError", "'user'", "… END", 60.0),
        "warning",
        "event_attempt_failed",
        EVENT_INVOKED_SERIES | {"poller_event_attempts_total{function=store,outcome=failed}": 1},
    ),
    (
        facts.EventPostponed(STORE, ID, "throttled", "429", 1.2),
        "warning",
        "event_postponed",
        {"poller_event_attempts_total{function=store,outcome=throttled}": 1},
    ),
    (
        facts.EventPostponed(STORE, ID, "unreachable", "no connection", 1.2),
        "warning",
        "event_postponed",
        {"poller_event_attempts_total{function=store,outcome=unreachable}": 1},
    ),
    (
        facts.EventEnded(STORE, ID, "Success", 1, ("on_success",)),
        "debug",
        "event_ended",
        {"poller_events_ended_total{function=store,reason=Success}": 1},
    ),
    (
        facts.EventEnded(STORE, ID, "EventAgeExceeded", 1, ("on_failure", "dead_letter")),
        "warning",
        "event_ended",
        {"poller_events_ended_total{function=store,reason=EventAgeExceeded}": 1},
    ),
    (
        facts.EventDropped(STORE, ID, "RetriesExhausted", 3),
        "warning",
        "event_dropped",
        {"poller_events_dropped_total{function=store,reason=RetriesExhausted}": 1},
    ),
    (
        facts.EventDelivered(STORE, ID, "dead_letter", "arn"),
        "debug",
        "event_delivered",
        {"poller_event_deliveries_total{delivery=dead_letter,function=store}": 1},
    ),
    (
        facts.EventRecordShortened(STORE, ID, "on_success", "arn"),
        "warning",
        "event_record_shortened",
        {"poller_event_records_shortened_total{function=store}": 1},
    ),
    (
        facts.EventDeliveryFailed(STORE, ID, "on_failure", "arn", "AccessDenied", "no", 30.0),
        "error",
        "event_delivery_failed",
        {"poller_event_delivery_failures_total{delivery=on_failure,function=store}": 1},
    ),
    (
        facts.EventFileMigrated("sqlite:///e.db", "/e.db.format-3"),
        "info",
        "event_file_migrated",
        {},
    ),
    (
        facts.EventStuck(STORE, ID, "RetriesExhausted", ("arn",), "on_failure: AccessDenied: no"),
        "error",
        "event_stuck",
        {"poller_events_stuck_total{function=store}": 1},
    ),
    (
        facts.EventClaimLost(STORE, ID),
        "warning",
        "event_claim_lost",
        {"poller_event_claims_lost_total{function=store}": 1},
    ),
    (
        facts.EventQueueFailed(STORE, "arn", "take", "ClientOSError", "reset", 1.0, False),
        "warning",
        "event_queue_failed",
        {"poller_event_queue_errors_total{function=store}": 1},
    ),
    (
        facts.EventQueueFailed(STORE, "arn", "take", "AccessDenied", "no", 1.0, True),
        "error",
        "event_queue_failed",
        {"poller_event_queue_errors_total{function=store}": 1},
    ),
    (facts.EventQueueRecovered(STORE, "arn"), "info", "event_queue_recovered", {}),
    (facts.FormerEventQueueFound(STORE, "arn"), "info", "former_event_queue_found", {}),
    (facts.FormerEventQueueForgotten(STORE, "arn", "empty"), "info", "former_event_queue_forgotten", {}),
    (
        facts.FormerEventQueueForgotten(STORE, "arn", "used for something else"),
        "warning",
        "former_event_queue_forgotten",
        {},
    ),
    (facts.EventsOrphaned(STORE, 3), "warning", "events_orphaned", {}),
    (
        facts.EventsCrashed(STORE, ValueError("secret"), 1.0),
        "error",
        "events_crashed",
        {"poller_events_crashes_total{function=store}": 1},
    ),
    (
        facts.FunctionCalled(STORE, RequestId("r"), "succeeded", 0.3),
        "debug",
        "client_call_succeeded",
        {
            "poller_calls_total{function=store,outcome=succeeded}": 1,
            "poller_call_duration_seconds_count{function=store}": 1,
            "poller_call_duration_seconds_sum{function=store}": 0.3,
        },
    ),
    (
        facts.FunctionCalled(STORE, RequestId("r"), "throttled", 0.0, "HTTP.429", "host: 429"),
        "warning",
        "client_call_failed",
        {
            "poller_calls_total{function=store,outcome=throttled}": 1,
            "poller_call_duration_seconds_count{function=store}": 1,
        },
    ),
    (facts.ApiRequestRejected("InvalidSignatureException", "no"), "warning", "api_request_rejected", {}),
    (facts.ApiRequestFailed(RequestId("r"), ZeroDivisionError()), "error", "api_request_failed", {}),
    (facts.FunctionCrashed(STORE, ZeroDivisionError()), "error", "function_crashed", {}),
    (facts.MappingBeginsPaused(ORDERS), "info", "mapping_begins_paused", {}),
    (facts.MappingBeginsAnew(ORDERS, CLICKS, True, "rename it"), "warning", "mapping_begins_anew", {}),
]


class Watch:
    """A clock that moves only when a test sets it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


def begun_telemetry(watch: Watch | None = None) -> Telemetry:
    telemetry = Telemetry(now=watch or Watch())
    begin(telemetry)
    return telemetry


def begin(telemetry: Telemetry) -> None:
    for mapping in (ORDERS, INVOICES, CLICKS, VIEWS):
        telemetry.begin_mapping(mapping, STORE, is_stream=mapping in (CLICKS, VIEWS))
    telemetry.begin_function(STORE)


def forget(telemetry: Telemetry) -> None:
    for mapping in (ORDERS, INVOICES, CLICKS, VIEWS):
        telemetry.forget_mapping(mapping)
    telemetry.forget_function(STORE)


def series(of: Telemetry) -> dict[str, float]:
    """Return every sample of ours without the times of creation and the buckets."""
    return {
        f"{sample.name}{{{','.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}}}": sample.value
        for family in of.registry.collect()
        for sample in family.samples
        if sample.name.startswith("poller_") and not sample.name.endswith(("_created", "_bucket"))
    }


@pytest.mark.parametrize(("fact", "level", "event", "moves"), EXPECTATIONS)
def test_a_fact_changes_only_its_own_metrics_and_is_logged_at_its_level(
    fact: Fact, level: str, event: str, moves: dict[str, float]
) -> None:
    with capture_logs() as lines:
        telemetry = begun_telemetry()
        before = series(telemetry)
        telemetry.emit(fact)
    after = series(telemetry)
    assert {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name, 0)} == moves
    assert [(line["log_level"], line["event"]) for line in lines] == [(level, event)]


def test_every_fact_has_an_expectation() -> None:
    missing = {fact.__name__ for fact in set(DECLARATIONS) - {type(fact) for fact, *_ in EXPECTATIONS}}
    assert not missing, f"add an entry for {', '.join(sorted(missing))} to EXPECTATIONS"


def test_every_counter_of_every_mapping_and_function_begins_at_zero() -> None:
    telemetry = begun_telemetry()
    start = series(telemetry)
    facts_of = {
        name for name in start if not name.startswith(("poller_build_info", "poller_child_processes", "poller_child_"))
    }
    assert set(start.values()) == {0, 1}
    assert [name for name, value in start.items() if value] == [name for name in start if "poller_build_info" in name]
    for *_, moves in EXPECTATIONS:
        seldom = {name for name in moves if "KeyError" in name or "ClientOSError" in name}
        assert set(moves) - seldom <= set(start)
    assert _of(ORDERS, facts_of) == _of(INVOICES, facts_of)
    assert _of(CLICKS, facts_of) == _of(VIEWS, facts_of)
    assert "poller_records_discarded_total{mapping=clicks,reason=RetryAttemptsExhausted}" in start
    assert "poller_source_errors_total{code=QueueDoesNotExist,mapping=orders}" in start
    assert "poller_source_errors_total{code=other,mapping=orders}" in start


def _of(mapping: str, names: set[str]) -> set[str]:
    return {name.replace(mapping, "*") for name in names if f"mapping={mapping}" in name}


def test_metrics_of_queues_and_of_streams_have_no_series_for_the_other_kind() -> None:
    telemetry = begun_telemetry()
    with capture_logs():
        for fact, *_ in EXPECTATIONS:
            telemetry.emit(fact)
    of_queues = {name.partition("{")[0] for name in _of(ORDERS, set(series(telemetry)))}
    of_streams = {name.partition("{")[0] for name in _of(CLICKS, set(series(telemetry)))}
    assert of_queues - of_streams == {metric.name for metric in metrics() if metric.of == "queue"}
    assert of_streams - of_queues == {metric.name for metric in metrics() if metric.of == "stream"}
    assert "poller_receives_total" in of_queues - of_streams
    assert "poller_shard_blocks_total" in of_streams - of_queues


def test_every_blocked_shard_is_logged_and_one_that_blocks_repeatedly_with_a_count() -> None:
    watch = Watch()
    with capture_logs() as lines:
        telemetry = begun_telemetry(watch)
        for number in range(100):
            telemetry.emit(facts.ShardBlocked(CLICKS, f"shard-{number}", "KeyError"))
        for _ in range(9):
            telemetry.emit(facts.ShardBlocked(CLICKS, "shard-7", "KeyError"))
        telemetry.emit(facts.ShardBlocked(CLICKS, "shard-7", "AccessDenied"))
        watch.time += 11
        telemetry.emit(facts.ShardBlocked(CLICKS, "shard-7", "KeyError"))
    assert [line["shard"] for line in lines[:100]] == [f"shard-{number}" for number in range(100)]
    assert [(line["reason"], line.get("suppressed")) for line in lines[100:]] == [
        ("AccessDenied", None),
        ("KeyError", 9),
    ]


def test_every_loss_is_logged() -> None:
    with capture_logs() as lines:
        telemetry = begun_telemetry()
        for number in range(3):
            telemetry.emit(facts.RecordsDropped(CLICKS, 1, "RetryAttemptsExhausted", SHARD, str(number), str(number)))
            telemetry.emit(facts.PositionTrimmed(CLICKS, f"shard-{number}", "TRIM_HORIZON"))
    dropped = [line["start_sequence_number"] for line in lines if line["event"] == "records_dropped"]
    trimmed = [line["shard"] for line in lines if line["event"] == "position_trimmed"]
    assert (dropped, trimmed) == (["0", "1", "2"], ["shard-0", "shard-1", "shard-2"])


def test_the_line_of_a_reload_leaves_out_empty_lists() -> None:
    with capture_logs() as lines:
        begun_telemetry().emit(RELOADED)
    assert lines == [{"log_level": "info", "event": "reloaded", "settings": "p.toml", "added": (ORDERS,)}]


def test_a_read_without_records_is_not_logged() -> None:
    with capture_logs() as lines:
        begun_telemetry().emit(facts.RecordsRead(CLICKS, 0))
    assert lines == []


def test_the_line_of_dropped_records_has_their_sequence_numbers() -> None:
    with capture_logs() as lines:
        begun_telemetry().emit(facts.RecordsDropped(CLICKS, 3, "RecordAgeExceeded", SHARD, "4959", "4961"))
    (line,) = lines
    assert (line["shard"], line["start_sequence_number"], line["end_sequence_number"]) == (SHARD, "4959", "4961")


def test_the_line_of_a_failed_destination_names_it_and_the_next_try() -> None:
    bucket = "arn:aws:s3:::failures"
    with capture_logs() as lines:
        begun_telemetry().emit(
            facts.DestinationFailed(CLICKS, 3, "NoSuchBucket", "there is none", False, 0.857000995, SHARD, bucket)
        )
    (line,) = lines
    assert (line["shard"], line["destination"], line["retry_in_seconds"]) == (SHARD, bucket, 0.857)


def test_ignored_failures_are_logged_once_for_each_mapping() -> None:
    with capture_logs() as lines:
        telemetry = begun_telemetry()
        for mapping in (ORDERS, CLICKS, ORDERS, CLICKS):
            telemetry.emit(facts.BatchItemFailuresIgnored(mapping, STORE, "the key must be batchItemFailures"))
    assert [(line["event"], line["log_level"], line["mapping"]) for line in lines] == [
        ("batch_item_failures_ignored", "warning", ORDERS),
        ("batch_item_failures_ignored", "warning", CLICKS),
    ]
    assert lines[0]["advice"] == "the key must be batchItemFailures"


def test_reasons_that_are_not_names_share_one_line() -> None:
    with capture_logs() as lines:
        telemetry = begun_telemetry()
        for number in range(50):
            telemetry.emit(facts.ShardBlocked(CLICKS, SHARD, f"{number} no answer{'a' * 5000}", detail="b" * 5000))
    assert [(line["reason"], line["detail"]) for line in lines] == [(f"0 no answer{'a' * 1013}", "b" * 1024)]


def test_the_line_of_a_blocked_shard_has_no_detail_if_there_is_no_message() -> None:
    with capture_logs() as lines:
        begun_telemetry().emit(facts.ShardBlocked(CLICKS, SHARD, "batchItemFailures"))
    assert "detail" not in lines[0]


def test_metrics_are_named_by_the_rule_and_have_only_bounded_labels() -> None:
    for family in begun_telemetry().registry.collect():
        for sample in family.samples:
            if not sample.name.startswith("poller_"):
                continue
            assert re.fullmatch(r"poller(_[a-z]+)+", sample.name)
            assert set(sample.labels) <= ALLOWED_LABELS
            assert family.documentation.endswith(".")


def test_the_registry_has_the_process_the_platform_and_the_garbage_collector() -> None:
    names = {family.name for family in begun_telemetry().registry.collect()}
    assert {"process_cpu_seconds", "python_info", "python_gc_collections"} <= names


def test_a_metric_of_the_daemon_has_only_its_own_labels() -> None:
    metric = Counter("poller_answers_total", "Answers.", of="daemon", labels=(Label("outcome", ("lost",)),))
    daemon = Subject("daemon", "daemon", "", now=Watch())
    daemon.labelled[metric.name][("lost",)] = 2
    ((sample,),) = [family.samples for family in MetricCollector(metric, {"daemon": daemon}).collect()]
    assert (sample.labels, sample.value) == ({"outcome": "lost"}, 2)


def test_two_telemetries_share_nothing() -> None:
    one, other = begun_telemetry(), begun_telemetry()
    one.emit(facts.MessagesReceived(ORDERS, 10))
    assert series(other)["poller_records_polled_total{mapping=orders}"] == 0


def test_invented_error_types_make_a_bounded_number_of_series() -> None:
    telemetry = begun_telemetry()
    with capture_logs():
        for number in range(500):
            telemetry.emit(FAILED._replace(reason=f"Error{number}"))
            telemetry.emit(
                facts.SourceFailed(
                    mapping=ORDERS, source="arn", operation="x", code=f"Code{number}", detail="", retry_in_seconds=1.0
                )
            )
    values = series(telemetry)
    assert sum(name.startswith("poller_invocation_failures_total{mapping=orders") for name in values) < 40
    assert sum("poller_source_errors_total" in name and "orders" in name for name in values) < 50
    assert values["poller_invocation_failures_total{mapping=orders,reason=other}"] == 480
    assert values["poller_source_errors_total{code=other,mapping=orders}"] == 480


@pytest.mark.parametrize(
    "fact", [FAILED, EXPECTATIONS[3][0], EXPECTATIONS[13][0], EXPECTATIONS[16][0], facts.ApiRequestRejected("c", "no")]
)
def test_a_repeated_line_is_logged_once_in_ten_seconds_with_the_number_of_suppressed_ones(fact: Fact) -> None:
    watch = Watch()
    with capture_logs() as lines:
        telemetry = begun_telemetry(watch)
        for _ in range(1000):
            telemetry.emit(fact)
        watch.time += 10
        telemetry.emit(fact)
    assert [line.get("suppressed") for line in lines] == [None, 999]


def test_failures_for_different_reasons_do_not_suppress_each_other() -> None:
    with capture_logs() as lines:
        telemetry = begun_telemetry()
        telemetry.emit(FAILED)
        telemetry.emit(FAILED._replace(reason="ValueError"))
        telemetry.emit(FAILED._replace(mapping=INVOICES))
    assert len(lines) == 3


def test_a_failed_batch_is_logged_with_the_start_of_its_message_and_the_end_of_its_log() -> None:
    with capture_logs() as lines:
        begun_telemetry().emit(FAILED._replace(detail="a" * 5000, log_tail="b" * 5000 + "END"))
    assert lines[0]["detail"] == "a" * 1024
    assert lines[0]["log_tail"] == "b" * 4093 + "END"
    assert lines[0]["request_id"] == "8f3"


def test_a_crash_is_logged_with_its_error() -> None:
    error = ZeroDivisionError()
    with capture_logs() as lines:
        begun_telemetry().emit(facts.MappingCrashed(mapping=ORDERS, error=error, retry_in_seconds=2.0))
    assert lines == [
        {
            "log_level": "error",
            "event": "mapping_crashed",
            "mapping": "orders",
            "retry_in_seconds": 2.0,
            "exc_info": error,
        }
    ]


def test_every_line_of_a_child_process_is_logged_with_its_function() -> None:
    with capture_logs() as lines:
        telemetry = begun_telemetry()
        for number in range(3):
            telemetry.emit(facts.ChildProcessOutput(function=STORE, pid=7, stream="stderr", line=f"line {number}"))
    assert [line["line"] for line in lines] == ["line 0", "line 1", "line 2"]
    assert {line["function"] for line in lines} == {"store"}


def test_a_mapping_that_is_added_later_has_every_counter_at_zero() -> None:
    telemetry = begun_telemetry()
    late = MappingName("late")
    telemetry.begin_mapping(late, STORE, is_stream=True)
    names = _of(CLICKS, set(series(telemetry)))
    assert _of(late, set(series(telemetry))) == names
    assert {series(telemetry)[name.replace("*", late)] for name in names} == {0}


def test_a_removed_mapping_or_function_has_no_series_and_the_others_keep_theirs() -> None:
    telemetry, empty = begun_telemetry(), Telemetry()
    with capture_logs():
        for fact, *_ in EXPECTATIONS:
            telemetry.emit(fact)
            telemetry.emit(FAILED._replace(mapping=VIEWS, function=FunctionName("other")))
    before = series(telemetry)
    telemetry.forget_mapping(ORDERS)
    assert series(telemetry) == {name: value for name, value in before.items() if f"mapping={ORDERS}" not in name}
    forget(telemetry)
    assert series(telemetry).keys() == series(empty).keys(), "only the series of the daemon are left"


def test_a_late_fact_does_not_bring_back_the_series_of_a_removed_mapping() -> None:
    telemetry = begun_telemetry()
    forget(telemetry)
    before = series(telemetry)
    with capture_logs() as lines:
        for fact, *_ in EXPECTATIONS:
            telemetry.emit(fact)
    assert series(telemetry).keys() == before.keys()
    assert {line["event"] for line in lines} == {event for _, _, event, _ in EXPECTATIONS}


def test_a_thousand_mappings_and_functions_that_come_and_go_leave_nothing_behind() -> None:
    telemetry = begun_telemetry()
    sizes = [_come_and_go(telemetry, number) for number in range(1000)]
    assert sizes[-1] == sizes[99]


def _come_and_go(telemetry: Telemetry, number: int) -> int:
    """Add mappings and their functions, emit facts about them and remove them.

    Return the number of objects that are left.
    """
    mapping, function = MappingName(f"mapping-{number}"), FunctionName(f"function-{number}")
    telemetry.begin_mapping(mapping, function, is_stream=number % 2 == 0)
    telemetry.begin_function(function)
    with capture_logs():
        telemetry.emit(FAILED._replace(mapping=mapping, function=function, reason=f"Error{number}"))
        telemetry.emit(facts.ShardBlocked(mapping, SHARD, f"Error{number}"))
        telemetry.emit(facts.BatchItemFailuresIgnored(mapping, function, "no"))
        telemetry.emit(facts.ChildProcessStarted(function=function, pid=number))
    telemetry.forget_mapping(mapping)
    telemetry.forget_function(function)
    return _objects_of(telemetry) if number in (99, 999) else 0


def _objects_of(telemetry: Telemetry) -> int:
    """Return the number of objects that the telemetry refers to."""
    seen: set[int] = set()
    waiting: list[object] = [vars(telemetry)]
    while waiting:
        held = waiting.pop()
        if id(held) in seen or isinstance(held, (type, ModuleType, FunctionType)):
            continue
        seen.add(id(held))
        waiting.extend(gc.get_referents(held))
    return len(seen)


def test_a_mapping_that_is_replaced_keeps_its_counters() -> None:
    telemetry = begun_telemetry()
    telemetry.emit(facts.MessagesReceived(ORDERS, 10))
    telemetry.begin_mapping(ORDERS, STORE, is_stream=False)
    assert series(telemetry)["poller_records_polled_total{mapping=orders}"] == 10


def test_a_function_that_is_replaced_keeps_its_counters() -> None:
    telemetry = begun_telemetry()
    telemetry.emit(facts.ChildProcessOutputLeftOut(STORE, 10))
    telemetry.begin_function(STORE)
    assert series(telemetry)["poller_child_process_lines_left_out_total{function=store}"] == 10


def test_a_mapping_that_is_replaced_with_another_function_begins_anew() -> None:
    telemetry = begun_telemetry()
    telemetry.emit(facts.MessagesReceived(ORDERS, 10))
    telemetry.begin_mapping(ORDERS, FunctionName("other"), is_stream=False)
    values = series(telemetry)
    assert values["poller_records_polled_total{mapping=orders}"] == 0
    assert {name for name in values if name.startswith("poller_invocations_total{") and "=orders" in name} == {
        f"poller_invocations_total{{function=other,mapping=orders,outcome={outcome}}}"
        for outcome in ("succeeded", "partly_failed", "failed")
    }


def test_a_mapping_that_is_added_again_has_its_lines_logged_at_once() -> None:
    with capture_logs() as lines:
        telemetry = begun_telemetry()
        for _ in range(2):
            telemetry.emit(FAILED)
            telemetry.emit(facts.BatchItemFailuresIgnored(ORDERS, STORE, "the key must be batchItemFailures"))
            telemetry.emit(FAILED._replace(mapping=INVOICES))
            telemetry.forget_mapping(ORDERS)
            telemetry.begin_mapping(ORDERS, STORE, is_stream=False)
    assert [line["mapping"] for line in lines if line["event"] == "batch_failed"] == [ORDERS, INVOICES, ORDERS]
    assert [line["mapping"] for line in lines if line["event"] == "batch_item_failures_ignored"] == [ORDERS, ORDERS]


@pytest.mark.parametrize("changes", [{"needs_restart": ("daemon.state",)}, {"failed": (ORDERS,)}])
def test_a_reload_that_could_not_apply_everything_is_a_warning(changes: dict[str, Any]) -> None:
    with capture_logs() as lines:
        Telemetry().emit(RELOADED._replace(**changes))
    assert [line["log_level"] for line in lines] == ["warning"]
