"""How is tracing turned on and off? The compositions pass each port that they have opened to a `Tracing` object.

Without tracing, the object returns the port itself, so that spans cost nothing. With tracing, `decorating.py` has the
object, and it returns a wrapper that makes spans.
"""

from __future__ import annotations

from poller.model.ids import FunctionName, MappingName
from poller.ports import Destination, QueueSource, StreamSource, Target


class Tracing:
    """Returns each port unchanged, because there is no tracing."""

    def queue(self, source: QueueSource, mapping: MappingName) -> QueueSource:
        return source

    def stream(self, source: StreamSource, mapping: MappingName, *, is_kinesis: bool) -> StreamSource:
        return source

    def target(self, target: Target, function: FunctionName) -> Target:
        return target

    def destination(self, destination: Destination, name: str) -> Destination:
        """Return the destination. `name` is its ARN, or the name of a function."""
        return destination
