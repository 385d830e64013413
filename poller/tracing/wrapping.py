"""What do the compositions do with a port that they have opened? They let this object wrap it.

Without tracing, it returns the port itself, so that spans cost nothing. The object of `decorating.py` makes spans.
"""

from __future__ import annotations

from poller.model.ids import FunctionName, MappingName
from poller.ports import Destination, QueueSource, StreamSource, Target


class Tracing:
    """Wraps nothing."""

    def queue(self, source: QueueSource, mapping: MappingName) -> QueueSource:
        return source

    def stream(self, source: StreamSource, mapping: MappingName, *, is_kinesis: bool) -> StreamSource:
        return source

    def target(self, target: Target, function: FunctionName) -> Target:
        return target

    def destination(self, destination: Destination, name: str) -> Destination:
        """Return the destination. `name` is its ARN, or the name of a function."""
        return destination
