"""How large an event does a function take? As large as Lambda takes, or less where its service refused less.

The proxy before a service of one's own often takes 1 MB. It does not say how much it takes, so each batch that is
refused halves the room for records:

    6 MB refused ──> 3 MB refused ──> 1.5 MB refused ──> 0.75 MB for FORGOTTEN_AFTER_IN_SECONDS ──> 6 MB

So the limit ends above half of what the service takes, and a service that takes more one day is found out.
A single record teaches nothing: no smaller batch holds it.
"""

from __future__ import annotations

from poller.core.batching import MAXIMUM_EVENT_BYTES

FORGOTTEN_AFTER_IN_SECONDS = 600.0
"""How long a limit is believed after the refusal that taught it; ours."""


class EventLimit:
    """The limit of one function, shared by its mappings. `now` is seconds on any one clock."""

    __slots__ = ("_forgotten_at", "_learnt")

    def __init__(self) -> None:
        self._learnt = MAXIMUM_EVENT_BYTES
        self._forgotten_at = 0.0

    def in_bytes(self, now: float) -> int:
        """The bytes of the largest event to send."""
        return self._learnt if now < self._forgotten_at else MAXIMUM_EVENT_BYTES

    def refused(self, event_bytes: int, *, empty_bytes: int, now: float) -> None:
        """An event of several records was too large; without its records it has `empty_bytes`."""
        smaller = empty_bytes + (event_bytes - empty_bytes) // 2
        if smaller < self.in_bytes(now):
            self._learnt = smaller
            self._forgotten_at = now + FORGOTTEN_AFTER_IN_SECONDS
