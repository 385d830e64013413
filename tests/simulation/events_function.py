"""How does a function for events behave? By a seeded plan, as tests/fakes/target.py does for batches.

A function does not depend on the daemon that calls it: if the client disconnects, the function runs to its planned end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Literal

import anyio
import anyio.lowlevel

from poller.model.invocation import Answered, FunctionError, Invocation, LostAnswer, Response, Throttled, Unreachable
from tests.simulation.process import Process

Answer = Literal["succeeded", "failed", "answer_lost", "cut"]


@dataclass(kw_only=True, eq=False)
class EventCall:
    """One run of the function. `answer` is the answer that the client got.

    The call was cut if the client disconnected before.
    """

    life: int
    request_id: str
    payload: bytes
    attempt: int
    began_at: float
    ended_at: float = 0.0
    answer: Answer = "cut"


@dataclass(kw_only=True)
class EventFunctionPlan:
    """The plan of a function. A rate is a chance from 0 to 1 for each call before `ends_at`.

    An event in `poison` always fails.

    During each interval of `throttled` (on anyio's clock), every call is throttled.
    """

    seed: int = 0
    duration_in_seconds: tuple[float, float] = (0.0, 1.0)
    throttle_rate: float = 0.0
    failure_rate: float = 0.0
    lost_answer_rate: float = 0.0
    ends_at: float = float("inf")
    throttled: tuple[float, float] = (0.0, 0.0)
    answer: bytes = b'"done"'
    poison: set[str] = field(default_factory=set)
    is_gone: bool = False


class EventFunction:
    """The function that all processes invoke. `refused_at` has the times of the calls that it refused."""

    def __init__(self, plan: EventFunctionPlan | None = None) -> None:
        self.plan = plan or EventFunctionPlan()
        self.calls: list[EventCall] = []
        self.refused_at: list[float] = []
        self.running_of: dict[int, int] = {}
        self.most_running = 0
        self._randomness = Random(self.plan.seed)

    async def invoke(self, invocation: Invocation, *, life: int) -> Response:
        plan, now = self.plan, anyio.current_time()
        assert invocation.mapping is None, "an event has no mapping"
        is_troubled = now < plan.ends_at
        if plan.is_gone:
            await anyio.lowlevel.checkpoint()
            return Unreachable(reason="ResourceNotFoundException")
        begins_at, ends_at = plan.throttled
        if begins_at <= now < ends_at or (is_troubled and self._randomness.random() < plan.throttle_rate):
            return await self._refuse(now)
        call = EventCall(
            life=life,
            request_id=invocation.request_id,
            payload=invocation.payload,
            attempt=invocation.attempt,
            began_at=now,
        )
        self.calls.append(call)
        self.running_of[life] = self.running_of.get(life, 0) + 1
        self.most_running = max(self.most_running, self.running_of[life])
        call.ended_at = now + self._randomness.uniform(*plan.duration_in_seconds)
        try:
            await anyio.sleep(call.ended_at - now)
        finally:
            self.running_of[life] -= 1
        return self._end(call, is_troubled)

    async def _refuse(self, now: float) -> Response:
        self.refused_at.append(now)
        await anyio.sleep(self._randomness.uniform(0, 0.1))
        if self._randomness.random() < 0.8:
            return Throttled(reason="throttled", retry_after=self._randomness.choice([None, None, 1.0, 5.0]))
        return Unreachable(reason="not there")

    def _end(self, call: EventCall, is_troubled: bool) -> Response:
        plan, lot = self.plan, self._randomness.random() if is_troubled else 1.0
        if lot < plan.lost_answer_rate:
            call.answer = "answer_lost"
            return LostAnswer(reason="ConnectionLost")
        if lot < plan.lost_answer_rate + plan.failure_rate or call.request_id in plan.poison:
            call.answer = "failed"
            return FunctionError(error_type="ValueError", message="by plan", payload=b'{"errorType":"ValueError"}')
        call.answer = "succeeded"
        return Answered(plan.answer)


class ProcessEventTarget:
    """The `ports.Target` with which one process reaches the function."""

    def __init__(self, process: Process, function: EventFunction) -> None:
        self._process = process
        self._function = function

    async def invoke(self, invocation: Invocation) -> Response:
        self._process.check()
        return await self._function.invoke(invocation, life=self._process.number)
