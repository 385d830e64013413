"""What happens between a mapping and its source?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Label, Line, declare
from poller.model.ids import MappingName
from poller.model.stream import ShardId

CODE = Label(
    "code",
    (
        "AWS.SimpleQueueService.NonExistentQueue",
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "InternalError",
        "InvalidClientTokenId",
        "OverLimit",
        "ProvisionedThroughputExceededException",
        "QueueDoesNotExist",
        "RequestThrottled",
        "ResourceNotFoundException",
        "ServiceUnavailable",
        "ThrottlingException",
    ),
    is_open=True,
)

SOURCE_ERRORS = Counter(
    "poller_source_errors_total",
    "Requests to the source that got an error or no answer.",
    of="mapping",
    labels=(CODE,),
)


@declare(
    Line("error", when=lambda fact: fact.needs_action, once_per=("mapping", CODE)),
    Line("warning", once_per=("mapping", CODE)),
    SOURCE_ERRORS.by(1),
)
class SourceFailed(NamedTuple):
    """A request to the mapping's source failed. The mapping tries again in `retry_in_seconds`. If `needs_action` is
    true, waiting does not help: a person must act.

    `source` is the ARN of the source. `needs_action` is true if the source is missing, if access is denied, or if AWS
    rejects the request.
    """

    mapping: MappingName
    source: str
    operation: str
    code: str
    detail: str
    retry_in_seconds: float
    needs_action: bool = False


@declare(Line("debug"), SOURCE_ERRORS.by(1))
class ReadThrottled(NamedTuple):
    """AWS throttled a read of a shard, because the reads exceeded the stream's limits. This is normal. The mapping
    reads the shard again in `retry_in_seconds`.
    """

    mapping: MappingName
    shard: ShardId
    code: str
    retry_in_seconds: float


@declare(Line("info"))
class SourceRecovered(NamedTuple):
    """All requests to the mapping's source succeed again."""

    mapping: MappingName
