"""How do messages in hand return to the queue at a stop? They are deleted, or made visible again.

`core/queues/delivery.py` decides which messages are deleted and which become visible again.
The return has a time limit, and a cancellation does not interrupt it.
"""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from poller.core.queues.delivery import Delivery, give_back
from poller.engine.queues.finishing import Finisher
from poller.engine.queues.visibility import VisibilityKeeper

RELEASE_IN_SECONDS = 10.0


class Releaser:
    """Returns messages of one mapping to the queue."""

    def __init__(self, *, finisher: Finisher, keeper: VisibilityKeeper, function_timeout_in_seconds: float) -> None:
        self._finisher = finisher
        self._keeper = keeper
        self._function_timeout_in_seconds = function_timeout_in_seconds

    async def release_all(self) -> None:
        await self.release(list(self._keeper.deliveries))

    async def release(self, deliveries: Iterable[Delivery]) -> None:
        """Return all messages of these deliveries to the queue, in at most RELEASE_IN_SECONDS, also when cancelled.

        Afterwards the keeper does not extend their visibility timeouts, even if a call has failed.
        """
        deliveries = list(deliveries)
        finish = give_back(deliveries, may_run_until=anyio.current_time() + self._function_timeout_in_seconds)
        for delivery in deliveries:
            self._keeper.drop(delivery)
        with anyio.move_on_after(RELEASE_IN_SECONDS, shield=True):
            await self._finisher.finish_once(finish)
