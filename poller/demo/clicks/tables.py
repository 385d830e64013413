"""What does a person see at the end? A table that shows what happened to the clicks, and the invocation record."""

from __future__ import annotations

import json
from collections.abc import Iterator

from poller.demo.books import Line, Table
from poller.demo.clicks.accounting import ClickBook


def clicks(book: ClickBook) -> Table:
    counted = book.counted
    lines = (
        ("put", len(book.put), "PutRecords"),
        ("polled", counted.polled, "/metrics"),
        ("seen", len(book.first_sightings), "the function's file"),
        ("discarded and reported", len(book.reported), "queue failures"),
        ("seen again, after a failure", book.repeats, "the function's file"),
        ("order of each user", "kept" if book.is_in_order else "broken", "the function's file"),
        ("invoked, retries too", counted.invoked, "/metrics"),
        ("  in batches that failed", counted.failed, "/metrics"),
        ("batches bisected", counted.bisections, "/metrics"),
        ("batches tried again", counted.retries, "/metrics"),
        ("shards", len({sighting.shard for sighting in book.seen}), "the function's file"),
    )
    return Table("The stream of clicks", ["records", "clicks"], [Line(what, [n], where) for what, n, where in lines])


def failures(book: ClickBook) -> Iterator[str]:
    """Yield each invocation record, and the data of the click that it names."""
    for reported in book.reported:
        yield f"The queue failures holds an invocation record:\n{json.dumps(reported.record, indent=2)}"
        data = reported.data.decode(errors="replace")
        yield f"The record that it names, fetched from the stream by its sequence number:\n{data}"
