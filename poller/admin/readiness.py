"""What does the daemon say about its state? The body of /readyz, and that of /api/status with more numbers.

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
began, which is null for paused, disabled and stopping; `attempt`, the number of failed tries in a row; and `next_try`,
which is null if the queue decides when a message is received again.
The entry of a stream has the number of its blocked shards, and lists the shards that have been blocked longest. Each
shard has the reason, the message of the failure, the time when it became blocked, and the first and the last of the
records that are tried together:

    "orders": {"state": "ready", "reason": null, "since": "2026-01-31T11:00:00Z", "attempt": null, "next_try": null,
               "shards_blocked": 1,
               "blocked": [{"shard": "shardId-000000000003", "reason": "KeyError", "detail": "'email'",
                            "since": "2026-01-31T12:00:00Z", "records": 2,
                            "start_sequence_number": "49590338271490256608559692538361571095921575989136588898",
                            "end_sequence_number": "49590338271490256608559692540925702759324208523137515618"}]}

`events` has an entry for the asynchronous events of each function, with the numbers of its event queue:

    "process_csv": {"state": "ready", "reason": null, "since": "2026-01-31T11:00:00Z", "attempt": null,
                    "next_try": null, "waiting": 3, "in_flight": 1, "stuck": 0, "oldest_age_in_seconds": 12.5}

/api/status has the same entries, each with the numbers that the metrics have, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from poller.admin.words import written
from poller.model.status import EventsStatus, MappingStatus


def readiness(statuses: Sequence[MappingStatus]) -> dict[str, Any]:
    """Return the body of /readyz."""
    return {
        "ready": all(_is_ready(status) for status in statuses),
        "mappings": {status.mapping: _entry(status) for status in statuses if status.events is None},
        "events": {
            status.function: _entry(status) | _numbers(status.events)
            for status in statuses
            if status.events is not None
        },
    }


def status_report(statuses: Sequence[MappingStatus]) -> dict[str, Any]:
    """Return the body of /api/status: the body of /readyz with the numbers of each mapping."""
    report = readiness(statuses)
    for status in statuses:
        if status.events is None:
            report["mappings"][status.mapping] |= _numbers_of_mapping(status)
    return report


def _is_ready(status: MappingStatus) -> bool:
    return status.was_found if status.state == "starting" else status.state != "stopping"


def _entry(status: MappingStatus) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "state": status.state,
        "reason": status.reason,
        "since": _written(status.since),
        "attempt": status.attempt,
        "next_try": _written(status.next_try),
    }
    if status.stream is not None:
        entry["shards_blocked"] = status.stream.shards_blocked
        entry["blocked"] = [
            {
                "shard": shard.shard_id,
                "reason": shard.reason,
                "detail": shard.detail,
                "since": written(shard.since),
                "records": shard.records,
                "start_sequence_number": shard.start_sequence_number,
                "end_sequence_number": shard.end_sequence_number,
            }
            for shard in status.stream.blocked
        ]
    return entry


def _numbers_of_mapping(status: MappingStatus) -> dict[str, Any]:
    numbers: dict[str, Any] = {
        "source": status.source,
        "function": status.function,
        "polls_in_flight": status.polls_in_flight,
        "batches_in_flight": status.batches_in_flight,
        "records_in_hand": status.messages_held,
        "concurrency_limit": status.concurrency_limit,
    }
    if status.stream is not None:
        stream = status.stream
        numbers["iterator_age_in_seconds"] = stream.iterator_age_in_seconds
        numbers["shards"] = {
            "reading": stream.shards_reading,
            "waiting": stream.shards_waiting,
            "drained": stream.shards_drained,
        }
    return numbers


def _numbers(events: EventsStatus) -> dict[str, Any]:
    return {
        "waiting": events.waiting,
        "in_flight": events.in_flight,
        "stuck": events.stuck,
        "oldest_age_in_seconds": events.oldest_age_in_seconds,
    }


def _written(epoch_seconds: float | None) -> str | None:
    return None if epoch_seconds is None else written(epoch_seconds)
