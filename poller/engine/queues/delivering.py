"""How is what was gathered seen through? Step by step, as `core/queues/delivery.py` decides.

    Invoke   one batch to the function (`invoking.py`); the mapping's concurrency follows the outcome
    Wait     sleep; a stop ends it
    Finish   delete what is done, show the rest again (`finishing.py`)

At a stop, what is not done goes back to the queue (`releasing.py`).
On a FIFO queue no group is in two deliveries at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from poller.core.queues.delivery import Delivery, Finish, Invoke, Wait
from poller.engine.queues.finishing import Finisher
from poller.engine.queues.groups import GroupTurns
from poller.engine.queues.invoking import Invoker
from poller.engine.queues.releasing import Releaser
from poller.engine.queues.visibility import VisibilityKeeper
from poller.engine.stop import Stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Deliverer:
    """Delivers the messages of one mapping. `groups` is None for a standard queue."""

    invoker: Invoker
    finisher: Finisher
    keeper: VisibilityKeeper
    releaser: Releaser
    groups: GroupTurns | None
    stop: Stop

    async def deliver(self, delivery: Delivery) -> None:
        """Returns when each message is deleted, shown again, or given back."""
        if self.groups is None:
            await self._deliver(delivery)
            return
        groups = delivery.groups
        if not await self.groups.take(groups, stop=self.stop):
            await self.releaser.release([delivery])
            return
        try:
            await self._deliver(delivery)
        finally:
            self.groups.free(groups)

    async def _deliver(self, delivery: Delivery) -> None:
        feedback = self.invoker.feedback()
        while (step := delivery.step()) is not None:
            match step:
                case Invoke():
                    if not await self.invoker.invoke(delivery, step, feedback):
                        await self.releaser.release([delivery])
                        return
                case Wait(seconds=seconds):
                    await self.stop.sleep(seconds)
                case Finish():
                    await self.finisher.finish(step)
                case _:
                    assert_never(step)
        self.keeper.drop(delivery)
