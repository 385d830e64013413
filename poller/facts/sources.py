"""What happens between a mapping and its source?"""

from __future__ import annotations

from typing import NamedTuple

from poller.facts.declaration import Counter, Label, Line, declare
from poller.model.ids import MappingName

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
    "Requests to the source that failed: answered with an error, or not answered.",
    of="mapping",
    labels=(CODE,),
)


@declare(
    Line("error", when=lambda fact: fact.is_lasting, once_per=("mapping", CODE)),
    Line("warning", once_per=("mapping", CODE)),
    SOURCE_ERRORS.by(1),
)
class SourceFailed(NamedTuple):
    """A request to the source failed; the mapping tries again in `retry_in_seconds`.

    `source` is the ARN of the source.
    `is_lasting` means that waiting will hardly help, so a person should look: the source is missing, access is denied,
    or AWS rejects the request.
    """

    mapping: MappingName
    source: str
    operation: str
    code: str
    detail: str
    retry_in_seconds: float
    is_lasting: bool = False


@declare(Line("debug"), SOURCE_ERRORS.by(1))
class ReadThrottled(NamedTuple):
    """The stream's limits throttled a read of a shard, which is usual; the mapping soon reads again."""

    mapping: MappingName
    code: str


@declare(Line("info"))
class SourceRecovered(NamedTuple):
    """The source answers again."""

    mapping: MappingName
