"""What happens to records of a stream that are discarded?

The facts have the sequence numbers of the first and the last record, so that a person can read the records again.
The last invocation of a tumbling window has no records, and so no sequence numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Label, Line, declare
from poller.model.ids import MappingName

CONDITION = Label("reason", ("RetryAttemptsExhausted", "RecordAgeExceeded"), field="condition")
"""AWS's word for why records were discarded."""

RECORDS_DISCARDED = Counter(
    "poller_records_discarded_total",
    "Records that were given up because of the mapping's limits; each was reported or dropped.",
    of="stream",
    labels=(CONDITION,),
)


@declare(
    Line("warning"),  # each time: nothing else says which records they are
    RECORDS_DISCARDED.by("records"),
    Counter(
        "poller_records_dropped_total",
        "Records that were discarded without a report to any destination.",
        of="stream",
        labels=(CONDITION,),
    ).by("records"),
)
class RecordsDropped(NamedTuple):
    """Records were discarded without a report to any destination. The sequence numbers are those of the first
    and the last record.

    `condition` is AWS's word for why.
    """

    mapping: MappingName
    records: int
    condition: str
    shard: str | None = None
    start_sequence_number: str | None = None
    end_sequence_number: str | None = None


@declare(
    Line("warning", once_per=("mapping", "condition")),
    RECORDS_DISCARDED.by("records"),
    Counter(
        "poller_records_reported_total",
        "Records that were discarded and whose invocation record the destination accepted.",
        of="stream",
    ).by("records"),
    Counter(
        "poller_invocation_records_delivered_total",
        "Invocation records of discarded batches that the destination accepted.",
        of="stream",
    ).by(1),
)
class InvocationRecordDelivered(NamedTuple):
    """A batch was discarded, and the on-failure destination accepted its invocation record.

    `condition` is AWS's word for why.
    """

    mapping: MappingName
    records: int
    condition: str
    shard: str | None = None
    start_sequence_number: str | None = None
    end_sequence_number: str | None = None


@declare(
    Line("error", once_per=("mapping", "code")),
    Counter(
        "poller_destination_errors_total",
        "Invocation records that the destination did not accept, counted at each try.",
        of="stream",
    ).by(1),
)
class DestinationFailed(NamedTuple):
    """The on-failure destination did not accept an invocation record. If `is_given_up` is true, the records are
    dropped; otherwise the destination is tried again in `retry_in_seconds`.
    """

    mapping: MappingName
    records: int
    code: str
    detail: str
    is_given_up: bool
    retry_in_seconds: float | None
    shard: str | None = None
    destination: str | None = None
