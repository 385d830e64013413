"""Is the daemon ready? The body of /readyz, with the state of each mapping.

A stream counts as found once its starting positions are stored. A later failure changes the body of /readyz, but not
its status code: a restart would not help, and a function that cannot be invoked must not stop a rolling deploy.
Therefore a reload that replaces a ready mapping does not change the status code either, unless the mapping gets another
source.

    state      what it means                                               status code
    starting   the source has not been found yet                           503; 200 if an earlier run has found it
    ready      the mapping polls its source                                200
    waiting    the function cannot be invoked now                          200
    troubled   the source was found; it or the position store fails now    200
    paused     a person paused the mapping                                 200
    disabled   the settings disable the mapping                            200
    stopping   the daemon stops                                            503

Each mapping also has these members: `reason`, a text from the source or the function; `since`, the time when the state
began, which is null for disabled and stopping, and for a pause that an older version has stored; `attempt`, the number
of failed tries in a row; and `next_try`, which is null if the queue decides when a message is received again.
The entry of a stream has the number of its blocked shards, and lists the shards that have been blocked longest. Each
shard has the reason, the message of the failure, the time when it became blocked, and the first and the last of the
records that are tried together:

    "orders": {"state": "ready", "reason": null, "since": "2026-01-31T11:00:00Z", "attempt": null, "next_try": null,
               "shards_blocked": 1,
               "blocked": [{"shard": "shardId-000000000003", "reason": "KeyError", "detail": "'email'",
                            "since": "2026-01-31T12:00:00Z", "attempt": 7, "next_try": "2026-01-31T12:01:00Z",
                            "records": 2,
                            "start_sequence_number": "49590338271490256608559692538361571095921575989136588898",
                            "end_sequence_number": "49590338271490256608559692540925702759324208523137515618",
                            "kept_until": "2026-02-01T11:59:58Z", "actions": ["retry", "bisect", "discard"]}]}

`detail` is null if the reader may not see it (`checking.py`), and a `reason` that the function chose is then
`FunctionError`. The stream keeps the first record until `kept_until`, at least. `actions` are what a person may order
(`calls.py`). The keys of the records are in /api/shards only.

`events` has an entry for the asynchronous events of each function, with the numbers of its event queue:

    "process_csv": {"state": "ready", "reason": null, "since": "2026-01-31T11:00:00Z", "attempt": null,
                    "next_try": null, "waiting": 3, "in_flight": 1, "stuck": 0, "oldest_age_in_seconds": 12.5}

If the daemon runs several worker processes, an entry of a mapping is merged from all workers (`core/merging.py`), and
`workers` has an entry for each worker, by its number. The status code is 200 only if all workers are ready:

    "workers": {"1": {"state": "ready", "reason": null, "pid": 4711, "since": "2026-01-31T11:00:00Z", "restarts": 0}}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from poller.admin.own_words import shown_reason
from poller.admin.words import written, written_if_known
from poller.model.status import BlockedShard, EventsStatus, MappingStatus, WorkerStatus

BLOCKED_SHARDS_SHOWN = 10
"""How many blocked shards of a mapping /readyz and /api/status list, the longest blocked first."""

BLOCKED_SHARDS_LISTED = 1000
"""How many blocked shards of a mapping /api/shards lists, the longest blocked first."""

LEAST_RETENTION_IN_SECONDS = 86_400.0
"""How long every stream keeps a record: DynamoDB exactly for this time, and Kinesis at least for this time.

Source: Amazon Kinesis Data Streams Developer Guide, "Change the data retention period"; Amazon DynamoDB Developer
Guide, "Change data capture for DynamoDB Streams".
"""


def readiness(
    statuses: Sequence[MappingStatus], workers: Sequence[WorkerStatus] = (), *, sees_words: bool
) -> dict[str, Any]:
    """Return the body of /readyz. `workers` is empty if the daemon is one process.

    Without `sees_words`, the body has no words of functions.
    """
    of_workers = {"workers": {str(worker.number): _entry_of_worker(worker) for worker in workers}} if workers else {}
    return {
        "ready": all(is_ready(status) for status in statuses) and all(worker.state == "ready" for worker in workers),
        "mappings": {
            status.mapping: _entry(status, sees_words=sees_words) for status in statuses if status.events is None
        },
        "events": {
            status.function: _entry(status, sees_words=sees_words) | _numbers(status.events)
            for status in statuses
            if status.events is not None
        },
        **of_workers,
    }


def shards_report(mapping: str, statuses: Sequence[MappingStatus], *, sees_words: bool) -> dict[str, Any] | None:
    """Return the body of /api/shards: the blocked shards of this mapping. Return None if there is no such mapping."""
    for status in statuses:
        if status.mapping == mapping and status.events is None:
            blocked = () if status.stream is None else status.stream.blocked
            return {
                "mapping": mapping,
                "source": status.source,
                "destination": status.destination,
                "blocked": [
                    _blocked(shard, sees_words=sees_words) | {"keys": shard.keys if sees_words else None}
                    for shard in blocked[:BLOCKED_SHARDS_LISTED]
                ],
            }
    return None


def kept_until(shard: BlockedShard) -> float | None:
    """Return the time until which the stream keeps the first record of the batch at least, in epoch seconds."""
    return None if shard.oldest_arrived_at is None else shard.oldest_arrived_at + LEAST_RETENTION_IN_SECONDS


def reason_for(status: MappingStatus, *, sees_words: bool) -> str | None:
    """Return the reason of the state, without the function's own words unless the reader may see them.

    The function's own words follow the text `function f cannot start: `. A trouble of the source may come before this
    text (functions/health.py).
    """
    reason = status.reason
    if sees_words or reason is None:
        return reason
    trouble, function, words = reason.partition(f"function {status.function} ")
    return f"{trouble}{function}{words.partition(': ')[0]}"


def is_ready(status: MappingStatus) -> bool:
    """Return whether the mapping allows the status code 200."""
    return status.was_found if status.state == "starting" else status.state != "stopping"


def _entry(status: MappingStatus, *, sees_words: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "state": status.state,
        "reason": reason_for(status, sees_words=sees_words),
        "since": written_if_known(status.since),
        "attempt": status.attempt,
        "next_try": written_if_known(status.next_try),
    }
    if status.stream is not None:
        entry["shards_blocked"] = status.stream.shards_blocked
        entry["blocked"] = [
            _blocked(shard, sees_words=sees_words) for shard in status.stream.blocked[:BLOCKED_SHARDS_SHOWN]
        ]
    return entry


def _blocked(shard: BlockedShard, *, sees_words: bool) -> dict[str, Any]:
    return {
        "shard": shard.shard_id,
        "reason": shown_reason(shard.reason, is_function_error=shard.is_function_error, sees_words=sees_words),
        "detail": shard.detail if sees_words else None,
        "since": written(shard.since),
        "attempt": shard.attempt,
        "next_try": written_if_known(shard.next_try),
        "records": shard.records,
        "start_sequence_number": shard.start_sequence_number,
        "end_sequence_number": shard.end_sequence_number,
        "kept_until": written_if_known(kept_until(shard)),
        "actions": shard.actions,
    }


def _entry_of_worker(worker: WorkerStatus) -> dict[str, Any]:
    return {
        "state": worker.state,
        "reason": worker.reason,
        "pid": worker.pid,
        "since": written(worker.since),
        "restarts": worker.restarts,
    }


def _numbers(events: EventsStatus) -> dict[str, Any]:
    return {
        "waiting": events.waiting,
        "in_flight": events.in_flight,
        "stuck": events.stuck,
        "oldest_age_in_seconds": events.oldest_age_in_seconds,
    }
