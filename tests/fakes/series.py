"""Which fake replaces telemetry in tests of the supervisor? It keeps the names of the mappings that have series."""

from __future__ import annotations

from poller.model.ids import FunctionName, MappingName


class FakeSeries:
    """`engine.supervisor.Series`."""

    def __init__(self) -> None:
        self.mappings: dict[MappingName, FunctionName] = {}

    def begin_mapping(self, mapping: MappingName, function: FunctionName, *, is_stream: bool) -> None:
        self.mappings[mapping] = function

    def forget_mapping(self, mapping: MappingName) -> None:
        del self.mappings[mapping]
