"""Did each upload end as it should? The invocation records of its event are compared with what the daemon counted.

    users.csv     uploaded; S3 notifies process_csv, which succeeds, and its record goes to the queue uploads-done
    broken.csv    uploaded, without the column of the addresses; every attempt fails, and its record goes to the queue
                  uploads-failed
    tundra.csv    uploaded to a folder without notifications; a client calls process_csv for it, and gets the answer

The rows of the first and the third file are sent to both queues.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from poller.demo.books import Book, differ
from poller.demo.metrics import Metrics
from poller.demo.signups.story import ATTEMPTS, PROCESS_CSV


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedEvents:
    """The daemon's numbers for process_csv: attempts with events, and ended events by their condition."""

    attempts: int = 0
    succeeded: int = 0
    failed: int = 0

    @classmethod
    def of(cls, metrics: Metrics) -> CountedEvents:
        ended = metrics.by("reason", "poller_events_ended_total", function=PROCESS_CSV)
        return cls(
            attempts=metrics.total("poller_event_attempts_total", function=PROCESS_CSV),
            succeeded=ended.get("Success", 0),
            failed=ended.get("RetriesExhausted", 0),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadBook(Book):
    """`done_records` and `failed_records` are the invocation records in the two queues.

    `rows_by_event` and `rows_by_call` are the numbers of rows that process_csv should send. `answered` is the number in
    its answer to the call, or None before the call.
    """

    rows_by_event: int
    rows_by_call: int
    answered: int | None
    done_records: Sequence[Any]
    failed_records: Sequence[Any]
    counted: CountedEvents

    @property
    def name(self) -> str:
        return "uploads"

    @property
    def done(self) -> int:
        return len(self.done_records) + len(self.failed_records) + (self.answered is not None)

    @property
    def total(self) -> int:
        return 3

    @property
    def news(self) -> str:
        return f"{self.rows_sent} rows sent, {len(self.failed_records)} broken files reported"

    @property
    def rows_sent(self) -> int:
        """Return how many rows process_csv has sent to each queue, as its answers say."""
        return sum(int(record["responsePayload"]["rows"]) for record in self.done_records) + (self.answered or 0)

    def faults(self) -> Iterator[str]:
        yield from differ("records of files that were processed", len(self.done_records), 1)
        yield from differ("records of files that failed", len(self.failed_records), 1)
        yield from differ("rows that process_csv sent", self.rows_sent, self.rows_by_event + self.rows_by_call)
        yield from differ("rows of the file that the call named", self.answered or 0, self.rows_by_call)
        yield from differ("attempts with events, by the daemon", self.counted.attempts, 1 + ATTEMPTS)
        yield from differ("events that succeeded, by the daemon", self.counted.succeeded, 1)
        yield from differ("events that failed, by the daemon", self.counted.failed, 1)
        for record in self.failed_records:
            context = record["requestContext"]
            yield from differ("attempts with the broken file", context["approximateInvokeCount"], ATTEMPTS)
            if context["condition"] != "RetriesExhausted":
                yield f"the event of the broken file ended with {context['condition']}"


def records_of(bodies: Sequence[str]) -> list[Any]:
    """Return the invocation records in these messages. A message may come twice, but each event is returned once."""
    records = [json.loads(body) for body in bodies]
    return list({record["requestContext"]["requestId"]: record for record in records}.values())


def shortened(record: dict[str, Any]) -> dict[str, Any]:
    """Return the invocation record without the event, and without the stack trace of the error."""
    kept = {name: value for name, value in record.items() if name != "requestPayload"}
    error = {name: value for name, value in record["responsePayload"].items() if name != "stackTrace"}
    return kept | {"responsePayload": error}
