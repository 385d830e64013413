"""How many bytes of records a second does a shard have? The worker measures this from renewal to renewal.

The rate stands in the lease's row, so that the workers can share the load evenly (`core/leases/balancing.py`).
"""

from __future__ import annotations

from poller.core.leases.balancing import dampened
from poller.model.lease import Row


class Rate:
    """The dampened rate of one shard in hand. It begins with the rate that the previous worker has stored."""

    def __init__(self, row: Row, now: float) -> None:
        stored = row.details.get("bytes_per_second")
        self.bytes_per_second = float(stored) if isinstance(stored, int | float) else 0.0
        self._bytes = 0
        self._since = now

    def count(self, size_in_bytes: int) -> None:
        """Count records that were delivered."""
        self._bytes += size_in_bytes

    def measure(self, now: float) -> float:
        """Return the rate now."""
        if (seconds := now - self._since) > 0:
            self.bytes_per_second = dampened(self.bytes_per_second, self._bytes / seconds, seconds)
            self._bytes, self._since = 0, now
        return self.bytes_per_second
