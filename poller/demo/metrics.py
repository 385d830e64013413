"""What does the daemon count for a mapping or a function? The numbers come from /metrics."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from poller.demo.processes import DemoError


class Metrics:
    """One answer of /metrics. `text` is in Prometheus' text format.

    `are_exact` is false if a worker of the daemon was killed: its counts of the last second are lost, and the records
    that it had in hand are counted once more.
    """

    def __init__(self, text: str, *, are_exact: bool = True) -> None:
        self.are_exact = are_exact
        self._samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(self, name: str, **owner: str) -> int:
        """Return the sum of the metric over its other labels. Raise DemoError if the daemon does not have it.

        `owner` is `mapping` or `function`, and its name.
        """
        return sum(self._values(name, owner, label=None).values())

    def by(self, label: str, name: str, **owner: str) -> dict[str, int]:
        """Return the metric for each value of `label`. Raise DemoError if the daemon does not have it."""
        return self._values(name, owner, label)

    def _values(self, name: str, owner: Mapping[str, str], label: str | None) -> dict[str, int]:
        """Return the sum for each value of `label`. Without a label, return one sum under an empty text.

        A metric that is missing raises DemoError: it may have a new name, and must not count as zero.
        """
        found: dict[str, int] = {}
        for sample in self._samples:
            if sample.name == name and owner.items() <= sample.labels.items():
                key = sample.labels[label] if label else ""
                found[key] = found.get(key, 0) + int(sample.value)
        if not found:
            owners = " ".join(f"{kind} {one}" for kind, one in owner.items())
            raise DemoError(f"the daemon's metrics have no {name} for the {owners}")
        return found
