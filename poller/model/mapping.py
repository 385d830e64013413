"""What is a mapping? One configured binding of a source to a function, with AWS's options under AWS's names."""

from __future__ import annotations

from dataclasses import dataclass

from poller.model.arn import Arn
from poller.model.ids import FunctionName, MappingName


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueMapping:
    """A mapping whose source is an SQS queue.

    `filters` are the patterns as JSON text, empty for none; a message must match one of them.
    `maximum_concurrency` is None where only the function's own limit holds.
    """

    name: MappingName
    event_source_arn: Arn
    function_name: FunctionName
    is_enabled: bool = True
    batch_size: int = 10
    maximum_batching_window_in_seconds: int = 0
    filters: tuple[str, ...] = ()
    report_batch_item_failures: bool = False
    maximum_concurrency: int | None = None
    role_arn: str | None = None
    region: str

    @property
    def is_fifo(self) -> bool:
        """SQS tells the two kinds of queue apart by the name's ending."""
        return self.event_source_arn.resource.endswith(".fifo")
