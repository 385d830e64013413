"""How is a batch of messages delivered? `core/queues/delivery.py` decides the next step, and this module executes it.

    Invoke   invoke the function with one batch (`invoking.py`); the outcome changes the mapping's concurrency
    Wait     sleep, at most until the stop
    Finish   delete the messages that are done, and make the other messages visible again (`finishing.py`)

At a stop, messages that are not done return to the queue (`releasing.py`).
On a FIFO queue, two deliveries never have messages of the same message group at the same time.
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
        """Execute the steps of a delivery until each message is deleted, visible again, or returned to the queue."""
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
