"""Which changes were made lately? The last ones, in memory, for the page."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

from poller.admin.page.view import RecentChange
from poller.facts import ChangeMade, Emit
from poller.facts.declaration import Fact

CHANGES_KEPT = 20


class RecentChanges:
    """Passes facts on, and keeps the last changes."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._kept: deque[RecentChange] = deque(maxlen=CHANGES_KEPT)

    def emit(self, fact: Fact) -> None:
        if isinstance(fact, ChangeMade):
            self._kept.append(RecentChange(time.time(), fact))
        self._emit(fact)

    def changes(self) -> Sequence[RecentChange]:
        """Return the last changes, the oldest first."""
        return tuple(self._kept)
