"""What happens to the shards of a stream, and to batches of them that failed?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.batches import FAILURE, RECORDS_POLLED
from poller.facts.declaration import Counter, Line, declare
from poller.model.ids import MappingName


@declare(
    Line("debug", when=lambda fact: fact.records > 0),  # an idle shard is read every second
    RECORDS_POLLED.by("records"),
)
class RecordsRead(NamedTuple):
    """The mapping read records from a shard."""

    mapping: MappingName
    records: int


@declare(
    Line("debug"),
    Counter("poller_retries_total", "Failed batches that were retried unchanged.", of="stream").by(1),
)
class BatchRetried(NamedTuple):
    """A batch of a shard failed. The function is invoked with the same batch again in `retry_in_seconds`.

    `attempt` is the number of the attempt that failed.
    """

    mapping: MappingName
    shard: str
    records: int
    attempt: int
    reason: str
    retry_in_seconds: float


@declare(
    Line("debug"),
    Counter("poller_bisections_total", "Batches that failed and were split in two.", of="stream").by(1),
)
class BatchBisected(NamedTuple):
    """A batch of a shard failed and is split in two. The function is invoked with each half."""

    mapping: MappingName
    shard: str
    records: int
    reason: str


@declare(
    Line("warning", once_per=("mapping", "shard", FAILURE)),
    Counter("poller_shard_blocks_total", "Times that a shard, or a lane of it, became blocked.", of="stream").by(1),
)
class ShardBlocked(NamedTuple):
    """A batch failed and blocks its shard, or one lane of the shard. Later records wait until the batch has succeeded
    or is discarded.

    This fact is emitted once, even if the batch is tried many times.
    `detail` is the error message of the function or of the destination.
    The sequence numbers are those of the first and the last record that are tried together. Any of these records may be
    the cause.
    """

    mapping: MappingName
    shard: str
    reason: str
    records: int = 0
    start_sequence_number: str | None = None
    end_sequence_number: str | None = None
    detail: str = ""


@declare(Line("info", once_per=("mapping", "shard")))
class ShardUnblocked(NamedTuple):
    """A batch that had blocked the shard, or one lane of it, for `blocked_seconds` has succeeded or was discarded.

    If the shard has several lanes, another lane may still be blocked.
    """

    mapping: MappingName
    shard: str
    blocked_seconds: float
