"""A correct account of the clicks, which tests change."""

from __future__ import annotations

from typing import Any

from poller.demo.clicks.accounting import ClickBook, CountedClicks
from poller.demo.clicks.stage import Reported
from poller.demo.clicks.story import POISON, rounds
from poller.demo.clicks.trace import Sighting

PUT = tuple(
    Sighting(click, f"shard-{click.user[-1]}", f"{turn:02}{click.user[-2:]}")
    for turn, clicks in enumerate(rounds())
    for click in clicks
)

[AT] = [sighting for sighting in PUT if sighting.click == POISON]

HEALTHY = tuple(sighting for sighting in PUT if sighting != AT)

AGAIN = HEALTHY[3:5]
"""Two clicks that were seen a second time."""


def report(**batch: Any) -> Reported:
    named = {"shardId": AT.shard, "startSequenceNumber": AT.sequence_number, "endSequenceNumber": AT.sequence_number}
    info = {**named, "batchSize": 1, **batch}
    return Reported({"requestContext": {"approximateInvokeCount": 3}, "KinesisBatchInfo": info}, POISON.data)


COUNTED = CountedClicks(polled=480, invoked=479 + 6, failed=6, discarded=1, delivered=1, bisections=2, retries=2)

GOOD = ClickBook(put=PUT, seen=(*HEALTHY[:5], *AGAIN, *HEALTHY[5:]), reported=(report(),), counted=COUNTED)
