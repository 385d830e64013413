"""How large an event does a function take? As large as Lambda takes; less while its service is known to refuse that.

A reverse proxy before an HTTP service often takes 1 MB at most. Its error does not name the limit, so each batch that
is refused halves the room for records:

    6 MB refused ──> 3 MB refused ──> 1.5 MB refused ──> 0.75 MB for FORGOTTEN_AFTER_IN_SECONDS ──> 6 MB

So the learnt limit is more than half of what the service takes. It is forgotten after a while, because the service may
be changed to take more. An error for a single record changes nothing: no smaller batch can hold that record.
"""

from __future__ import annotations

from poller.core.batching import MAXIMUM_EVENT_BYTES

FORGOTTEN_AFTER_IN_SECONDS = 600.0
"""How long a learnt limit holds after the last error that lowered it; the number is ours."""


class EventLimit:
    """The limit of one function, shared by its mappings. `now` is in seconds, always of the same clock."""

    __slots__ = ("_forgotten_at", "_learnt")

    def __init__(self) -> None:
        self._learnt = MAXIMUM_EVENT_BYTES
        self._forgotten_at = 0.0

    def in_bytes(self, now: float) -> int:
        """The bytes of the largest event to send."""
        return self._learnt if now < self._forgotten_at else MAXIMUM_EVENT_BYTES

    def refused(self, event_bytes: int, *, empty_bytes: int, now: float) -> None:
        """The service refused this event of several records; without its records it would have `empty_bytes`."""
        smaller = empty_bytes + (event_bytes - empty_bytes) // 2
        if smaller < self.in_bytes(now):
            self._learnt = smaller
            self._forgotten_at = now + FORGOTTEN_AFTER_IN_SECONDS
