"""What does the daemon count for a mapping? The numbers come from /metrics."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from poller.demo.processes import DemoError
from poller.model.ids import MappingName


class Metrics:
    """One answer of /metrics. `text` is in Prometheus' text format."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if "mapping" in sample.labels
        ]

    def total(self, name: str, mapping: MappingName) -> int:
        """Return the sum of the metric over its other labels. Raise DemoError if the daemon does not have it."""
        return sum(self._values(name, mapping, label=None).values())

    def by(self, label: str, name: str, mapping: MappingName) -> dict[str, int]:
        """Return the metric for each value of `label`. Raise DemoError if the daemon does not have it."""
        return self._values(name, mapping, label)

    def _values(self, name: str, mapping: MappingName, label: str | None) -> dict[str, int]:
        """Return the sums by `label`, or one sum under "".

        A metric that is missing raises DemoError: it may have a new name, and must not count as zero.
        """
        found: dict[str, int] = {}
        for sample in self._samples:
            if sample.name == name and sample.labels["mapping"] == mapping:
                key = sample.labels[label] if label else ""
                found[key] = found.get(key, 0) + int(sample.value)
        if not found:
            raise DemoError(f"the daemon's metrics say nothing of {name} for the mapping {mapping}")
        return found
