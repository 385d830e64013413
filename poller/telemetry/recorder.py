"""What is said of a fact? For each type of fact one small function: its metrics and its log line, side by side.

A record passes three facts on its way (polled, invoked, deleted), for each batch: these only move counters, and write a
line where debug lines are wanted at all.

    error     a human should look: a mapping crashed, a source is missing, or forbidden to us, something was lost
    warning   a batch failed or waits, a shard is blocked, a message will come again, a child died; one such line in
              ten seconds at most, of each blocked shard.  What is given up unreported is said each time
    info      started, ready, recovered, stopping; and what child processes print
    debug     all that went well, and what follows by rule from a failure that was said

The payload of a record is in no fact, and so in no line.
A function's error message and the end of its log may quote data of its users.
They are written, the message cut to 1 KB, because Lambda's own logs hold them too, and without them nobody could
understand a failure.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import structlog

from poller import facts
from poller.facts import Fact
from poller.model.ids import FunctionName, MappingName
from poller.model.status import MappingStatus
from poller.telemetry.labels import BoundedValues
from poller.telemetry.metrics import FAILURES, Metrics
from poller.telemetry.repetitions import Repetitions

DETAIL_CHARACTERS = 1024
LOG_TAIL_CHARACTERS = 4096


class Telemetry:
    """Turns facts into log lines and metrics; `emit` is the call by which everything else reports a fact.

    To be made after `logs.configure`, because it asks the log's level once.
    A mapping or a function has series from its `begin_…` to its `forget_…`; a fact about any other is logged only.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._metrics = Metrics()
        self._mappings: dict[MappingName, tuple[FunctionName, bool]] = {}
        self.registry = self._metrics.registry
        self._repetitions = Repetitions(now)
        self._unheeded: set[MappingName] = set()
        self._reasons_to_block = BoundedValues(FAILURES)
        self._log: structlog.typing.FilteringBoundLogger = structlog.get_logger("poller").bind()
        self._is_chatty = self._log.is_enabled_for(logging.DEBUG)
        self._tell: dict[type, Callable[[Any], None]] = {
            facts.DaemonStarted: self._daemon_started,
            facts.DaemonStopping: self._daemon_stopping,
            facts.ReloadIgnored: self._reload_ignored,
            facts.StateOpened: self._state_opened,
            facts.TooFewFileDescriptors: self._too_few_file_descriptors,
            facts.SettingsWarning: self._settings_warning,
            facts.MappingReady: self._mapping_ready,
            facts.SourceFailed: self._source_failed,
            facts.ReadThrottled: self._read_throttled,
            facts.SourceRecovered: self._source_recovered,
            facts.StoreFailed: self._store_failed,
            facts.StoreRecovered: self._store_recovered,
            facts.MappingCrashed: self._mapping_crashed,
            facts.MappingCrashing: self._mapping_crashing,
            facts.RecordsPolled: self._records_polled,
            facts.RecordsFilteredOut: self._records_filtered_out,
            facts.BatchInvoked: self._batch_invoked,
            facts.InvocationPostponed: self._invocation_postponed,
            facts.MappingWaiting: self._mapping_waiting,
            facts.MappingWaitEnded: self._mapping_wait_ended,
            facts.EventTooLarge: self._event_too_large,
            facts.BatchItemFailuresIgnored: self._batch_item_failures_ignored,
            facts.MessagesDeleted: self._messages_deleted,
            facts.DeleteFailed: self._delete_failed,
            facts.VisibilityExtended: self._visibility_extended,
            facts.VisibilityChangeFailed: self._visibility_change_failed,
            facts.ReceiptsExpired: self._receipts_expired,
            facts.MessagesReleased: self._messages_released,
            facts.BatchRetried: self._batch_retried,
            facts.BatchBisected: self._batch_bisected,
            facts.ShardBlocked: self._shard_blocked,
            facts.ShardUnblocked: self._shard_unblocked,
            facts.RecordsDropped: self._records_dropped,
            facts.InvocationRecordDelivered: self._invocation_record_delivered,
            facts.DestinationFailed: self._destination_failed,
            facts.PositionTrimmed: self._position_trimmed,
            facts.CheckpointsLost: self._checkpoints_lost,
            facts.ChildProcessStarted: self._child_process_started,
            facts.ChildProcessStopped: self._child_process_stopped,
            facts.ChildProcessOutput: self._child_process_output,
            facts.ChildProcessOutputLeftOut: self._child_process_output_left_out,
            facts.RuntimeApiConnectionRefused: self._runtime_api_connection_refused,
            facts.EndpointSuspended: self._endpoint_suspended,
        }

    def emit(self, fact: Fact) -> None:
        """Count it and, if it is worth a line, say it."""
        self._tell[type(fact)](fact)

    def begin_mapping(self, mapping: MappingName, function: FunctionName, *, is_stream: bool) -> None:
        """Show the series of this mapping, at zero if they are new.

        May be called again when the mapping is replaced: its counters go on, unless its function or its kind of
        source is another.
        """
        subject = (function, is_stream)
        if self._mappings.get(mapping, subject) != subject:
            self.forget_mapping(mapping)
        self._mappings[mapping] = subject
        self._metrics.begin_mapping(mapping, function, is_stream=is_stream)

    def forget_mapping(self, mapping: MappingName) -> None:
        """Remove all series of this mapping, and what is remembered of its log lines."""
        self._mappings.pop(mapping, None)
        self._unheeded.discard(mapping)
        self._metrics.forget_mapping(mapping)
        self._repetitions.forget(mapping)

    def begin_function(self, function: FunctionName) -> None:
        """Show the series of this function, at zero if they are new; it may run as child processes or a url pool."""
        self._metrics.begin_function(function)

    def forget_function(self, function: FunctionName) -> None:
        """Remove all series of this function, and what is remembered of its log lines."""
        self._metrics.forget_function(function)
        self._repetitions.forget(function)

    def watch(self, statuses: Callable[[], Sequence[MappingStatus]]) -> None:
        """Read the gauges from these statuses at every scrape; to be called once."""
        self._metrics.watch(statuses)

    def _daemon_started(self, fact: facts.DaemonStarted) -> None:
        self._log.info("daemon_started", **_without_none(asdict(fact)))

    def _daemon_stopping(self, fact: facts.DaemonStopping) -> None:
        self._log.info("daemon_stopping", **asdict(fact))

    def _reload_ignored(self, _fact: facts.ReloadIgnored) -> None:
        self._log.warning("reload_ignored", reason="SIGHUP does not reload the settings yet: restart to change them")

    def _state_opened(self, fact: facts.StateOpened) -> None:
        self._log.info("state_opened", **fact._asdict())

    def _too_few_file_descriptors(self, fact: facts.TooFewFileDescriptors) -> None:
        advice = "raise the hard limit of open files (ulimit -Hn, LimitNOFILE of systemd) or lower the concurrencies"
        self._log.warning("too_few_file_descriptors", **fact._asdict(), advice=advice)

    def _settings_warning(self, fact: facts.SettingsWarning) -> None:
        self._log.warning("settings_warning", **fact._asdict())

    def _mapping_ready(self, fact: facts.MappingReady) -> None:
        self._log.info("mapping_ready", **_without_none(asdict(fact)))

    def _source_failed(self, fact: facts.SourceFailed) -> None:
        code = self._metrics.source_codes.admit(fact.code)
        self._metrics.source_errors[fact.mapping, code](1)
        self._failed("source_failed", code, fact)

    def _store_failed(self, fact: facts.StoreFailed) -> None:
        code = self._metrics.store_codes.admit(fact.code)
        self._metrics.store_errors[fact.mapping, code](1)
        self._failed("store_failed", code, fact)

    def _failed(self, event: str, code: str, fact: facts.SourceFailed | facts.StoreFailed) -> None:
        level = logging.ERROR if fact.is_lasting else logging.WARNING
        suppressed = self._repetitions.admit(event, fact.mapping, code)
        if suppressed is not None:
            fields = asdict(fact) | {
                "detail": fact.detail[:DETAIL_CHARACTERS],
                "retry_in_seconds": round(fact.retry_in_seconds, 3),
            }
            self._log.log(level, event, **fields, **_kept_back(suppressed))

    def _store_recovered(self, fact: facts.StoreRecovered) -> None:
        self._log.info("store_recovered", **fact._asdict())

    def _read_throttled(self, fact: facts.ReadThrottled) -> None:
        self._metrics.source_errors[fact.mapping, self._metrics.source_codes.admit(fact.code)](1)
        self._log.debug("read_throttled", mapping=fact.mapping, code=fact.code)

    def _source_recovered(self, fact: facts.SourceRecovered) -> None:
        self._log.info("source_recovered", mapping=fact.mapping)

    def _mapping_crashed(self, fact: facts.MappingCrashed) -> None:
        self._metrics.mapping_crashes[fact.mapping](1)
        self._log.error(
            "mapping_crashed",
            mapping=fact.mapping,
            retry_in_seconds=round(fact.retry_in_seconds, 3),
            exc_info=fact.error,
        )

    def _mapping_crashing(self, fact: facts.MappingCrashing) -> None:
        fields = {
            "mapping": fact.mapping,
            "batches_in_flight": fact.batches_in_flight,
            "ends_within_seconds": fact.ends_within_seconds,
        }
        self._log.error("mapping_crashing", **fields, exc_info=fact.error)

    def _records_polled(self, fact: facts.RecordsPolled) -> None:
        mapping, records = fact
        self._metrics.records_polled[mapping](records)
        is_stream = self._is_stream(mapping)
        if not is_stream:
            self._metrics.receives[mapping](1)
            if not records:
                self._metrics.empty_receives[mapping](1)
        if self._is_chatty and (records or not is_stream):  # an idle shard is read every second
            self._log.debug("records_polled", mapping=mapping, records=records)

    def _is_stream(self, mapping: MappingName) -> bool:
        return mapping in self._mappings and self._mappings[mapping][1]

    def _records_filtered_out(self, fact: facts.RecordsFilteredOut) -> None:
        self._metrics.records_filtered_out[fact.mapping](fact.records)
        if self._is_chatty:
            self._log.debug("records_filtered_out", mapping=fact.mapping, records=fact.records)

    def _batch_invoked(self, fact: facts.BatchInvoked) -> None:
        metrics, mapping, outcome = self._metrics, fact.mapping, fact.outcome
        metrics.invocations[mapping, fact.function, outcome](1)
        metrics.records_invoked[mapping](fact.records)
        metrics.batch_records[mapping](fact.records)
        metrics.invocation_duration[mapping](fact.duration_seconds)
        metrics.oldest_record_age[mapping](max(0.0, fact.oldest_record_age_seconds))
        if outcome != "succeeded":
            metrics.records_failed[mapping](fact.failed)
            self._batch_failed(fact)
        elif self._is_chatty:
            self._log.debug("batch_invoked", **_invocation(fact))

    def _batch_failed(self, fact: facts.BatchInvoked) -> None:
        reason = ""
        if fact.outcome == "failed":
            reason = self._metrics.failure_reasons.admit(fact.reason)
            self._metrics.invocation_failures[fact.mapping, reason](1)
        event = f"batch_{fact.outcome}"
        suppressed = self._repetitions.admit(event, fact.mapping, reason)
        if suppressed is not None:
            self._log.warning(event, **_invocation(fact), **_kept_back(suppressed))

    def _invocation_postponed(self, fact: facts.InvocationPostponed) -> None:
        cause = "throttled" if fact.is_throttle else "unreachable"
        self._metrics.invocations_postponed[fact.mapping, cause](1)
        suppressed = self._repetitions.admit("invocation_postponed", fact.mapping, cause)
        if suppressed is not None:
            fields = _in_words(fact._asdict()) | {"retry_in_seconds": round(fact.retry_in_seconds, 3)}
            self._log.warning("invocation_postponed", **fields, **_kept_back(suppressed))

    def _mapping_waiting(self, fact: facts.MappingWaiting) -> None:
        suppressed = self._repetitions.admit("mapping_waiting", fact.mapping)
        if suppressed is not None:
            self._log.warning("mapping_waiting", **fact._asdict(), **_kept_back(suppressed))

    def _mapping_wait_ended(self, fact: facts.MappingWaitEnded) -> None:
        suppressed = self._repetitions.admit("mapping_wait_ended", fact.mapping)
        if suppressed is not None:
            fields = fact._asdict() | {"waited_seconds": round(fact.waited_seconds, 3)}
            self._log.info("mapping_wait_ended", **fields, **_kept_back(suppressed))

    def _event_too_large(self, fact: facts.EventTooLarge) -> None:
        self._metrics.events_too_large[fact.mapping](1)
        suppressed = self._repetitions.admit("event_too_large", fact.mapping)
        if suppressed is not None:
            self._log.warning("event_too_large", **fact._asdict(), **_kept_back(suppressed))

    def _batch_item_failures_ignored(self, fact: facts.BatchItemFailuresIgnored) -> None:
        if fact.mapping not in self._unheeded:
            self._unheeded.add(fact.mapping)
            self._log.warning("batch_item_failures_ignored", **fact._asdict())

    def _messages_deleted(self, fact: facts.MessagesDeleted) -> None:
        self._metrics.records_deleted[fact.mapping](fact.records)
        if self._is_chatty:
            self._log.debug("messages_deleted", mapping=fact.mapping, records=fact.records)

    def _delete_failed(self, fact: facts.DeleteFailed) -> None:
        self._metrics.delete_failures[fact.mapping, _fate(fact.is_given_up)](fact.records)
        self._refused("delete_failed", fact)

    def _visibility_extended(self, fact: facts.VisibilityExtended) -> None:
        self._metrics.visibility_extensions[fact.mapping](fact.records)
        if self._is_chatty:
            self._log.debug("visibility_extended", mapping=fact.mapping, records=fact.records)

    def _visibility_change_failed(self, fact: facts.VisibilityChangeFailed) -> None:
        self._metrics.visibility_failures[fact.mapping, _fate(fact.is_given_up)](fact.records)
        self._refused("visibility_change_failed", fact)

    def _refused(self, event: str, fact: facts.DeleteFailed | facts.VisibilityChangeFailed) -> None:
        suppressed = self._repetitions.admit(event, fact.mapping, _fate(fact.is_given_up))
        if suppressed is not None:
            self._log.warning(event, **fact._asdict(), **_kept_back(suppressed))

    def _receipts_expired(self, fact: facts.ReceiptsExpired) -> None:
        self._metrics.receipts_expired[fact.mapping](fact.records)
        suppressed = self._repetitions.admit("receipts_expired", fact.mapping)
        if suppressed is not None:
            self._log.warning("receipts_expired", **fact._asdict(), **_kept_back(suppressed))

    def _messages_released(self, fact: facts.MessagesReleased) -> None:
        self._metrics.messages_released[fact.mapping](fact.records)
        self._log.info("messages_released", mapping=fact.mapping, records=fact.records)

    def _batch_retried(self, fact: facts.BatchRetried) -> None:
        self._metrics.retries[fact.mapping](1)
        if self._is_chatty:
            self._log.debug("batch_retried", **fact._asdict() | {"retry_in_seconds": round(fact.retry_in_seconds, 3)})

    def _batch_bisected(self, fact: facts.BatchBisected) -> None:
        self._metrics.bisections[fact.mapping](1)
        if self._is_chatty:
            self._log.debug("batch_bisected", **fact._asdict())

    def _shard_blocked(self, fact: facts.ShardBlocked) -> None:
        self._metrics.shard_blocks[fact.mapping](1)
        reason = self._reasons_to_block.admit(fact.reason)
        suppressed = self._repetitions.admit("shard_blocked", fact.mapping, fact.shard, reason)
        if suppressed is not None:
            fields = _in_words(_without_none(fact._asdict()))
            self._log.warning("shard_blocked", **fields, **_kept_back(suppressed))

    def _shard_unblocked(self, fact: facts.ShardUnblocked) -> None:
        suppressed = self._repetitions.admit("shard_unblocked", fact.mapping, fact.shard)
        if suppressed is not None:
            fields = fact._asdict() | {"blocked_seconds": round(fact.blocked_seconds, 3)}
            self._log.info("shard_unblocked", **fields, **_kept_back(suppressed))

    def _records_dropped(self, fact: facts.RecordsDropped) -> None:
        self._metrics.records_discarded[fact.mapping, fact.condition](fact.records)
        self._metrics.records_dropped[fact.mapping, fact.condition](fact.records)
        self._log.warning("records_dropped", **_without_none(fact._asdict()))  # nothing else says which ones

    def _invocation_record_delivered(self, fact: facts.InvocationRecordDelivered) -> None:
        self._metrics.records_discarded[fact.mapping, fact.condition](fact.records)
        self._metrics.records_delivered[fact.mapping](fact.records)
        self._metrics.invocation_records[fact.mapping](1)
        suppressed = self._repetitions.admit("invocation_record_delivered", fact.mapping, fact.condition)
        if suppressed is not None:
            self._log.warning("invocation_record_delivered", **_without_none(fact._asdict()), **_kept_back(suppressed))

    def _destination_failed(self, fact: facts.DestinationFailed) -> None:
        self._metrics.invocation_record_failures[fact.mapping](1)
        suppressed = self._repetitions.admit("destination_failed", fact.mapping, fact.code)
        if suppressed is not None:
            fields = fact._asdict() | {"detail": fact.detail[:DETAIL_CHARACTERS]}
            if fact.retry_in_seconds is not None:
                fields["retry_in_seconds"] = round(fact.retry_in_seconds, 3)
            self._log.error("destination_failed", **_without_none(fields), **_kept_back(suppressed))

    def _position_trimmed(self, fact: facts.PositionTrimmed) -> None:
        self._metrics.positions_trimmed[fact.mapping](1)
        self._log.error("position_trimmed", **fact._asdict())

    def _checkpoints_lost(self, fact: facts.CheckpointsLost) -> None:
        self._log.error("checkpoints_lost", **fact._asdict())

    def _child_process_started(self, fact: facts.ChildProcessStarted) -> None:
        self._metrics.child_starts[fact.function](1)
        self._metrics.children[fact.function](1)
        suppressed = self._repetitions.admit("child_process_started", fact.function)
        if suppressed is not None:
            self._log.info("child_process_started", **asdict(fact), **_kept_back(suppressed))

    def _child_process_stopped(self, fact: facts.ChildProcessStopped) -> None:
        self._metrics.child_exits[fact.function, fact.reason](1)
        self._metrics.children[fact.function](-1)
        level = logging.INFO if fact.reason in ("idle", "shutdown") else logging.WARNING
        suppressed = self._repetitions.admit("child_process_stopped", fact.function, fact.reason)
        if suppressed is not None:
            self._log.log(level, "child_process_stopped", **_without_none(asdict(fact)), **_kept_back(suppressed))

    def _child_process_output(self, fact: facts.ChildProcessOutput) -> None:
        fields = {"function": fact.function, "pid": fact.pid, "stream": fact.stream, "line": fact.line}
        if fact.mapping is not None:
            fields |= {"mapping": fact.mapping, "request_id": fact.request_id}
        self._log.info("child_process_output", **fields)

    def _child_process_output_left_out(self, fact: facts.ChildProcessOutputLeftOut) -> None:
        self._metrics.child_output_lines_left_out[fact.function](fact.lines)
        self._log.warning("child_process_output_left_out", **asdict(fact))

    def _runtime_api_connection_refused(self, fact: facts.RuntimeApiConnectionRefused) -> None:
        self._metrics.runtime_api_refusals[fact.function, fact.reason](1)
        suppressed = self._repetitions.admit("runtime_api_connection_refused", fact.function, fact.reason)
        if suppressed is not None:
            self._log.warning("runtime_api_connection_refused", **asdict(fact), **_kept_back(suppressed))

    def _endpoint_suspended(self, fact: facts.EndpointSuspended) -> None:
        self._metrics.endpoints_put_aside[fact.function](1)
        suppressed = self._repetitions.admit("endpoint_suspended", fact.function, fact.url)
        if suppressed is not None:
            fields = asdict(fact) | {"detail": fact.detail[:DETAIL_CHARACTERS]}
            self._log.warning("endpoint_suspended", **fields, **_kept_back(suppressed))


def _invocation(fact: facts.BatchInvoked) -> dict[str, Any]:
    """Its fields for a log line: texts of the function cut (of a log the end matters), empty ones left out."""
    fields = fact._asdict()
    fields["reason"] = fact.reason[:DETAIL_CHARACTERS]
    fields["detail"] = fact.detail[:DETAIL_CHARACTERS]
    fields["log_tail"] = fact.log_tail[-LOG_TAIL_CHARACTERS:]
    fields["duration_seconds"] = round(fact.duration_seconds, 3)
    fields["oldest_record_age_seconds"] = round(fact.oldest_record_age_seconds, 3)
    return {name: value for name, value in fields.items() if value != ""}


def _in_words(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields with reason and detail cut; a detail that says nothing is left out."""
    cut = {name: fields[name][:DETAIL_CHARACTERS] for name in ("reason", "detail")}
    return {name: value for name, value in (fields | cut).items() if (name, value) != ("detail", "")}


def _without_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _kept_back(suppressed: int) -> dict[str, int]:
    return {"suppressed": suppressed} if suppressed else {}


def _fate(is_given_up: bool) -> str:
    return "given_up" if is_given_up else "retried"
