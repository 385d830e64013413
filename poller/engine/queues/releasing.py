"""How do messages in hand go back to the queue at a stop? As `core/queues/delivery.py` says, shielded and bounded."""

from __future__ import annotations

from collections.abc import Iterable

import anyio

from poller.core.queues.delivery import Delivery, give_back
from poller.engine.queues.finishing import Finisher
from poller.engine.queues.visibility import VisibilityKeeper

RELEASE_IN_SECONDS = 10.0


class Releaser:
    """Gives the messages of one mapping back."""

    def __init__(self, *, finisher: Finisher, keeper: VisibilityKeeper) -> None:
        self._finisher = finisher
        self._keeper = keeper

    async def release_all(self) -> None:
        await self.release(list(self._keeper.deliveries))

    async def release(self, deliveries: Iterable[Delivery]) -> None:
        """Give these back, in at most RELEASE_IN_SECONDS, come what may; they are not ours any more."""
        deliveries = list(deliveries)
        finish = give_back(deliveries)
        for delivery in deliveries:
            self._keeper.drop(delivery)
        with anyio.move_on_after(RELEASE_IN_SECONDS, shield=True):
            await self._finisher.finish_once(finish)
