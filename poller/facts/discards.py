"""What happens to records of a stream that are discarded?

The facts have the sequence numbers of the first and the last record, so that a person can read the records again.
The last invocation of a tumbling window has no records, and so no sequence numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Label, Line, declare
from poller.model.ids import MappingName

CONDITION = Label("reason", ("RetryAttemptsExhausted", "RecordAgeExceeded", "DiscardedByRequest"), field="condition")
"""Why records were discarded. The first two are AWS's words; the third one says that a person has ordered it."""

RECORDS_DISCARDED = Counter(
    "poller_records_discarded_total",
    "Records that were discarded because of the mapping's limits or by a person. Each of them was reported or dropped.",
    of="stream",
    labels=(CONDITION,),
)


@declare(
    Line("warning"),  # each time: nothing else says which records they are
    RECORDS_DISCARDED.by("records"),
    Counter(
        "poller_records_dropped_total",
        "Records that were discarded, and about which no destination got an invocation record.",
        of="stream",
        labels=(CONDITION,),
    ).by("records"),
)
class RecordsDropped(NamedTuple):
    """The mapping discarded records, and no destination got an invocation record about them. The sequence numbers are
    those of the first and the last record.

    `condition` is AWS's word for the reason.
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
        "Records that were discarded, and about which the destination accepted an invocation record.",
        of="stream",
    ).by("records"),
    Counter(
        "poller_invocation_records_delivered_total",
        "Invocation records of discarded batches that the destination accepted.",
        of="stream",
    ).by(1),
)
class InvocationRecordDelivered(NamedTuple):
    """The mapping discarded a batch, and the on-failure destination accepted the invocation record about it.

    `condition` is AWS's word for the reason, and `destination` is the ARN.
    """

    mapping: MappingName
    records: int
    condition: str
    shard: str | None = None
    start_sequence_number: str | None = None
    end_sequence_number: str | None = None
    destination: str | None = None


@declare(
    Line("error", once_per=("mapping", "code")),
    Counter(
        "poller_destination_errors_total",
        "Failed tries to deliver an invocation record to the on-failure destination.",
        of="stream",
    ).by(1),
)
class DestinationFailed(NamedTuple):
    """The on-failure destination did not accept an invocation record. The mapping sends it again in `retry_in_seconds`.
    If `is_given_up` is true, it does not send it again, and the records are dropped without an invocation record.
    """

    mapping: MappingName
    records: int
    code: str
    detail: str
    is_given_up: bool
    retry_in_seconds: float | None
    shard: str | None = None
    destination: str | None = None
