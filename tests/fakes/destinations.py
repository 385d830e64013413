"""What stands in for a destination? A list of what was taken, in order, behind a way there and back that may fail.

    deliver ──(faults, latency)──> taken ──(faults, latency)──> return

It waits on anyio's clock, and gives up like the adapters do. A delivery that is cancelled or whose answer gets lost on
the way back was taken; one that failed on the way there was not.
"""

from __future__ import annotations

import anyio

from poller.core.invocation_record import InvocationRecord
from poller.destinations.client import DELIVERY_TIMEOUT_IN_SECONDS
from poller.errors import AccessDenied, NotFound, Throttled, Unreachable
from tests.fakes.faults import Fault, FaultPlan


class FakeDestination:
    """`ports.Destination`. `taken` has each invocation record as often as it was taken; the plan has `deliver`.

    `taken_at` has the time of each, on anyio's clock; `answered` has those whose taking the client was told.
    """

    def __init__(self, *, faults: FaultPlan | None = None) -> None:
        self.faults = faults or FaultPlan()
        self.taken: list[InvocationRecord] = []
        self.taken_at: list[float] = []
        self.answered: list[InvocationRecord] = []

    async def deliver(self, invocation_record: InvocationRecord) -> None:
        fault = self.faults.draw("deliver", anyio.current_time())
        with anyio.move_on_after(DELIVERY_TIMEOUT_IN_SECONDS):
            await self._way_there(fault)
            self.taken.append(invocation_record)
            self.taken_at.append(anyio.current_time())
            await self._way_back(fault)
            self.answered.append(invocation_record)
            return
        raise Unreachable("no answer in time", code="Timeout", was_sent=True)

    async def _way_there(self, fault: Fault) -> None:
        await anyio.sleep(self.faults.latency())
        match fault:
            case Fault.THROTTLED:
                raise Throttled("Rate exceeded", code="ThrottlingException")
            case Fault.UNREACHABLE:
                raise Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
            case Fault.ACCESS_DENIED:
                raise AccessDenied("not authorized", code="AccessDenied")
            case Fault.NOT_FOUND:
                raise NotFound("it does not exist", code="NotFound")

    async def _way_back(self, fault: Fault) -> None:
        await anyio.sleep(self.faults.latency())
        if fault is Fault.ANSWER_SLOW:
            await anyio.sleep(self.faults.slow_answer_in_seconds)
        if fault is Fault.ANSWER_LOST:
            raise Unreachable("connection lost", code="ConnectionLost", was_sent=True)
