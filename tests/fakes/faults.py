"""Which calls of a service fail, and how? A seeded plan: the same seed draws the same faults in the same order.

    on the way there     THROTTLED, UNREACHABLE, ACCESS_DENIED, NOT_FOUND: the service did nothing
    on the way back      ANSWER_LOST, ANSWER_SLOW: the service did what was asked, and the client may never learn of it

Rates are chances from 0 to 1, drawn anew for each call. Faults of the plan end at `ends_at`, so a simulation can check
that everything recovers. `script` lets the next calls of an operation fail in a fixed way.
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
    """From `begins_at` until before `ends_at` (seconds on anyio's clock) every call has the fault `fault`."""

    begins_at: float
    ends_at: float
    fault: Fault


@dataclass(kw_only=True)
class FaultPlan:
    """`latency_in_seconds` is the range of the time that a request takes, and of the time that an answer takes.

    `entry_failure_rate` is the chance of each entry of a batch call to fail with InternalError. `ghost_rate` is the
    chance that a receive whose client has disconnected goes on at the service until its wait is over, and takes
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
        """Let the next calls of `operation` have these faults, one each. Then the rates apply again."""
        self._scripts[operation].extend(faults)

    def draw(self, operation: str, now: float) -> Fault:
        if self._scripts[operation]:
            return self._scripts[operation].popleft()
        for outage in self.outages:
            if outage.begins_at <= now < outage.ends_at:
                return outage.fault
        return self._drawn_by_rate() if now < self.ends_at else Fault.NONE

    async def way_there(self, fault: Fault) -> None:
        """Wait for the latency; raise the error of a fault on the way there."""
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
        """Wait for the latency, and longer for a slow answer; raise Unreachable if the answer gets lost."""
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
