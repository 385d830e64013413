"""Which calls of a service fail, and how? A seeded plan: the same seed draws the same faults in the same order.

    on the way there     THROTTLED, UNREACHABLE, ACCESS_DENIED, NOT_FOUND: the call has no effect
    on the way back      ANSWER_LOST, ANSWER_SLOW: the call has its effect, but the client may not get the answer

A rate is the chance of a fault, from 0 to 1, for each call. The faults of the plan end at `ends_at`, so a simulation
can check that everything recovers. `script` sets the faults of the next calls of an operation.
"""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from random import Random
from typing import NamedTuple

import anyio

from poller.errors import AccessDenied, NotFound, Throttled, Unreachable


class Fault(Enum):
    NONE = auto()
    THROTTLED = auto()
    UNREACHABLE = auto()
    ACCESS_DENIED = auto()
    NOT_FOUND = auto()
    ANSWER_LOST = auto()
    ANSWER_SLOW = auto()


class Outage(NamedTuple):
    """A time in which every call has the same fault: from `begins_at` until `ends_at`, in seconds on anyio's clock.

    If `operation` is set, only the calls of this operation have the fault.
    """

    begins_at: float
    ends_at: float
    fault: Fault
    operation: str | None = None


@dataclass(kw_only=True)
class FaultPlan:
    """The faults of a service. The times of a request and of an answer are drawn from the range `latency_in_seconds`.

    `entry_failure_rate` is the chance that an entry of a batch call fails with InternalError. `ghost_rate` is the
    chance that a receive whose client has disconnected continues at the service until its wait is over, and takes
    messages that no client gets.
    """

    seed: int = 0
    latency_in_seconds: tuple[float, float] = (0.0, 0.0)
    throttle_rate: float = 0.0
    unreachable_rate: float = 0.0
    lost_answer_rate: float = 0.0
    slow_answer_rate: float = 0.0
    slow_answer_in_seconds: float = 5.0
    entry_failure_rate: float = 0.0
    ghost_rate: float = 0.0
    outages: list[Outage] = field(default_factory=list)
    ends_at: float = inf

    def __post_init__(self) -> None:
        self._rng = Random(self.seed)
        self._scripts: defaultdict[str, deque[Fault]] = defaultdict(deque)

    def script(self, operation: str, *faults: Fault) -> None:
        """Set the faults of the next calls of `operation`, one fault for each call.

        Afterwards the rates apply again.
        """
        self._scripts[operation].extend(faults)

    def draw(self, operation: str, now: float) -> Fault:
        if self._scripts[operation]:
            return self._scripts[operation].popleft()
        for outage in self.outages:
            if outage.begins_at <= now < outage.ends_at and outage.operation in (None, operation):
                return outage.fault
        return self._drawn_by_rate() if now < self.ends_at else Fault.NONE

    async def way_there(self, fault: Fault) -> None:
        """Wait for the time that a request takes. Raise the error if the fault is one on the way there."""
        await anyio.sleep(self.latency())
        match fault:
            case Fault.THROTTLED:
                raise Throttled("Rate exceeded", code="ThrottlingException")
            case Fault.UNREACHABLE:
                raise Unreachable("connection refused", code="ConnectionRefused", was_sent=False)
            case Fault.ACCESS_DENIED:
                raise AccessDenied("not authorized", code="AccessDenied")
            case Fault.NOT_FOUND:
                raise NotFound("it does not exist", code="NotFound")

    async def way_back(self, fault: Fault) -> None:
        """Wait for the time that an answer takes, or longer for a slow answer.

        Raise Unreachable if the answer is lost.
        """
        await anyio.sleep(self.latency())
        if fault is Fault.ANSWER_SLOW:
            await anyio.sleep(self.slow_answer_in_seconds)
        if fault is Fault.ANSWER_LOST:
            raise Unreachable("connection lost", code="ConnectionLost", was_sent=True)

    def latency(self) -> float:
        return self._rng.uniform(*self.latency_in_seconds)

    def entry_fails(self, now: float) -> bool:
        return now < self.ends_at and self._rng.random() < self.entry_failure_rate

    def leaves_a_ghost(self, now: float) -> bool:
        return now < self.ends_at and self._rng.random() < self.ghost_rate

    def _drawn_by_rate(self) -> Fault:
        lot = self._rng.random()
        for fault, rate in (
            (Fault.THROTTLED, self.throttle_rate),
            (Fault.UNREACHABLE, self.unreachable_rate),
            (Fault.ANSWER_LOST, self.lost_answer_rate),
            (Fault.ANSWER_SLOW, self.slow_answer_rate),
        ):
            lot -= rate
            if lot < 0:
                return fault
        return Fault.NONE
