"""What does the daemon count? Its /metrics, read for one mapping at a time."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from poller.demo.processes import DemoError
from poller.model.ids import MappingName


class Metrics:
    """One answer of /metrics, in Prometheus' text format."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if "mapping" in sample.labels
        ]

    def total(self, name: str, mapping: MappingName) -> int:
        """The sum over every other label."""
        return sum(self._values(name, mapping, label=None).values())

    def by(self, label: str, name: str, mapping: MappingName) -> dict[str, int]:
        """The value for each value of this label."""
        return self._values(name, mapping, label)

    def _values(self, name: str, mapping: MappingName, label: str | None) -> dict[str, int]:
        """Raises DemoError where there is none: a name that is gone must not pass for zero."""
        found: dict[str, int] = {}
        for sample in self._samples:
            if sample.name == name and sample.labels["mapping"] == mapping:
                key = sample.labels[label] if label else ""
                found[key] = found.get(key, 0) + int(sample.value)
        if not found:
            raise DemoError(f"the daemon's metrics say nothing of {name} for the mapping {mapping}")
        return found
