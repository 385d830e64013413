"""What does /api/status say? The body of /readyz, with all numbers that the page shows.

Each mapping has the numbers that the metrics have, too. A mapping of a queue also has the numbers of messages, as in
/api/queues, and the age of the oldest message that the daemon has in hand:

    "queue": {"visible": 120, "in_flight": 8, "delayed": 0, "unknown": null, "oldest_in_hand_age_in_seconds": 3.5}

Once the state is open, `sharing` says how the daemon shares the leases of the state with other workers: which workers
live, which worker reads each of the first shards, and for how many seconds this daemon has seen this worker read it:

    "sharing": {"shards": 1, "units": 0, "state_silence_in_seconds": 0.4, "heartbeat_age_in_seconds": 2.1,
                "unread_in_seconds": 0.0,
                "workers": [{"worker": "blue-1/8f3a", "leases": 1, "bytes_per_second": 12.5, "is_stopping": false}],
                "leases": [{"mapping": "orders", "shard": "shardId-000000000003", "worker": "blue-1/8f3a",
                            "seconds": 3600.5}]}
"""

from __future__ import annotations

from typing import Any

from poller.admin.own_words import shown_error, shown_reason
from poller.admin.page.view import View
from poller.admin.readiness import readiness
from poller.admin.scaling import entry_of_queue
from poller.admin.words import written, written_if_known
from poller.model.backlog import UnknownBacklog
from poller.model.function import ChildProcess, Function
from poller.model.function_status import FunctionStatus
from poller.model.lease import shard_of
from poller.model.sharing import SharingStatus, label_of, mapping_of
from poller.model.status import LaneStatus, MappingStatus, ShardStatus
from poller.telemetry.history import INTERVAL_IN_SECONDS, MappingHistory, last_minutes

NOT_SHOWN = UnknownBacklog("nobody has asked the queue")


def status_report(view: View) -> dict[str, Any]:
    """Return the body of /api/status, as the reader of this view may see it."""
    report = readiness(view.statuses, view.workers, sees_words=view.viewer.sees_words)
    if view.sharing is not None:
        report["sharing"] = _sharing(view.sharing)
    histories = view.histories_by_function()
    report["functions"] = {
        function.name: _function(function, view)
        | {"last_30_minutes": last_minutes(histories.get(function.name, ()))._asdict()}
        for function in view.functions
    }
    for status in view.mappings:
        report["mappings"][status.mapping] |= _numbers_of_mapping(status, view)
    return report


def _numbers_of_mapping(status: MappingStatus, view: View) -> dict[str, Any]:
    error, sees_words = status.last_error, view.viewer.sees_words
    numbers: dict[str, Any] = {
        "source": status.source,
        "destination": status.destination,
        "function": status.function,
        "polls_in_flight": status.polls_in_flight,
        "batches_in_flight": status.batches_in_flight,
        "records_in_hand": status.messages_held,
        "concurrency_limit": status.concurrency_limit,
        "last_error": None
        if error is None
        else {
            "at": written(error.at),
            "error": shown_error(error.error, sees_words=sees_words),
            "detail": error.detail if sees_words else None,
        },
    }
    if status.stream is not None:
        stream = status.stream
        numbers["iterator_age_in_seconds"] = stream.iterator_age_in_seconds
        numbers["shards"] = {
            "reading": stream.shards_reading,
            "waiting": stream.shards_waiting,
            "drained": stream.shards_drained,
        }
        numbers["shards_read"] = [_shard(shard, sees_words=sees_words) for shard in stream.shards]
    if status.queue is not None:
        numbers["queue"] = {
            **entry_of_queue(view.depths.get(status.mapping, NOT_SHOWN)),
            "oldest_in_hand_age_in_seconds": status.queue.oldest_age_in_seconds,
        }
    if (history := view.histories.get(status.mapping)) is not None:
        numbers["last_30_minutes"] = _history(history)
    return numbers


def _history(history: MappingHistory) -> dict[str, Any]:
    return {
        "interval_in_seconds": INTERVAL_IN_SECONDS,
        "records": [round(records) for records in history.records],
        "failed": [round(records) for records in history.failed],
        **last_minutes([history])._asdict(),
    }


def _function(function: Function, view: View) -> dict[str, Any]:
    status = view.function_statuses.get(
        function.name, FunctionStatus(function.name, 0, 0, function.reserved_concurrency)
    )
    log = [{"at": written(line.at), "pid": line.pid, "text": line.text} for line in status.log]
    children = {
        "running": status.children,
        "busy": status.busy,
        "failed": view.failed_children.get(function.name, 0),
        "first": [child._asdict() for child in status.first_children],
    }
    return {
        "running": status.running,
        "waiting": status.waiting,
        "limit": status.limit,
        "children": children if isinstance(function.kind, ChildProcess) else None,
        "log": log if view.viewer.sees_words else None,
    }


def _shard(shard: ShardStatus, *, sees_words: bool) -> dict[str, Any]:
    return {
        "shard": shard.shard_id,
        "worker": label_of(shard.worker),
        "read_since": written_if_known(shard.read_since),
        "position": shard.position,
        "behind_in_seconds": shard.age_in_seconds,
        "records_in_hand": shard.records,
        "blocked_since": written_if_known(shard.blocked_since),
        "lanes": [_lane(lane, sees_words=sees_words) for lane in shard.lanes],
    }


def _lane(lane: LaneStatus, *, sees_words: bool) -> dict[str, Any]:
    reason, is_function_error = lane.reason, lane.is_function_error
    return {
        "number": lane.number,
        "records": lane.records,
        "is_invoking": lane.is_invoking,
        "reason": reason and shown_reason(reason, is_function_error=is_function_error, sees_words=sees_words),
        "attempt": lane.attempt,
        "next_try": written_if_known(lane.next_try),
    }


def _sharing(sharing: SharingStatus) -> dict[str, Any]:
    return {
        "shards": sharing.shards,
        "units": sharing.units,
        "state_silence_in_seconds": sharing.table_silence_in_seconds,
        "heartbeat_age_in_seconds": sharing.heartbeat_age_in_seconds,
        "unread_in_seconds": sharing.unread_in_seconds,
        "workers": [
            {
                "worker": label_of(worker.owner),
                "leases": worker.leases,
                "bytes_per_second": worker.bytes_per_second,
                "is_stopping": worker.is_stopping,
            }
            for worker in sharing.workers
        ],
        "leases": [
            {
                "mapping": mapping_of(lease.key),
                "shard": shard_of(lease.key),
                "worker": None if lease.owner is None else label_of(lease.owner),
                "seconds": lease.seconds,
            }
            for lease in sharing.leases
        ],
    }
