"""How large may an event of a function be?

The limit is Lambda's (6 MB) until the function's service refuses an event as too large.
A reverse proxy in front of an HTTP service often accepts 1 MB at most. Its error does not tell the limit, so each
refused event halves the limit:

    6 MB refused ──> 3 MB refused ──> 1.5 MB refused ──> 0.75 MB for FORGOTTEN_AFTER_IN_SECONDS ──> 6 MB

So the lowered limit is more than half of the service's limit. After a while it is Lambda's limit again, because a
person may have raised the service's limit. A refused event with a single record does not lower the limit, because it
cannot be made smaller.
"""

from __future__ import annotations

from poller.core.batching import MAXIMUM_EVENT_BYTES

FORGOTTEN_AFTER_IN_SECONDS = 600.0
"""How long a limit holds after the last error that lowered it, in seconds. The number is ours."""


class EventLimit:
    """The limit for the size of one function's events. All mappings of the function share it.

    Each `now` is in seconds, and all are on the same clock.
    """

    __slots__ = ("_forgotten_at", "_learnt")

    def __init__(self) -> None:
        self._learnt = MAXIMUM_EVENT_BYTES
        self._forgotten_at = 0.0

    def in_bytes(self, now: float) -> int:
        """Return how many bytes an event may have now."""
        return self._learnt if now < self._forgotten_at else MAXIMUM_EVENT_BYTES

    def refused(self, event_bytes: int, *, empty_bytes: int, now: float) -> None:
        """Lower the limit, because the service refused an event of several records.

        `event_bytes` is the event's size, and `empty_bytes` is the size of the same event without its records.
        """
        smaller = empty_bytes + (event_bytes - empty_bytes) // 2
        if smaller < self.in_bytes(now):
            self._learnt = smaller
            self._forgotten_at = now + FORGOTTEN_AFTER_IN_SECONDS
