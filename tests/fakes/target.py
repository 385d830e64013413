"""How does a function behave? By a seeded plan: it takes its time, succeeds, fails, names failures, or is busy.

A function lives apart from the daemon that calls it: when the caller goes away, it goes on to its planned end.
Every call is in `calls`, in order of beginning, with what became of each message, so that a checker can ask afterwards.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from random import Random
from typing import Literal

import anyio
import orjson

from poller.model.invocation import Answered, Busy, FunctionError, Invocation, LostAnswer, Response

Ending = Literal["succeeded", "partly_failed", "failed", "answer_lost", "cut"]


@dataclass(kw_only=True)
class Call:
    """One run of the function. `done` are the messages whose success the caller was told; `ended_at` is planned."""

    mapping: str
    request_id: str
    attempt: int
    began_at: float
    ended_at: float
    message_ids: list[str]
    receipts: list[str]
    groups: list[str | None]
    ending: Ending = "cut"
    done: frozenset[str] = frozenset()


@dataclass(kw_only=True)
class FunctionPlan:
    """Rates are chances from 0 to 1 for each call, as long as the time is before `ends_at`; then all goes well.

    A message whose id is in `poison` fails whenever it comes, for good. With `names_failures` it fails alone (and, on a
    FIFO queue, with what follows it in its group), otherwise its whole batch does.
    With `answer`, every call that comes to its end answers just that.
    """

    seed: int = 0
    duration_in_seconds: tuple[float, float] = (0.0, 1.0)
    busy_rate: float = 0.0
    failure_rate: float = 0.0
    lost_answer_rate: float = 0.0
    item_failure_rate: float = 0.0
    names_failures: bool = False
    ends_at: float = float("inf")
    answer: bytes | None = None
    poison: set[str] = field(default_factory=set)


class FakeTarget:
    """`ports.Target`. `running` counts the calls that a caller still waits for."""

    def __init__(self, plan: FunctionPlan | None = None) -> None:
        self.plan = plan or FunctionPlan()
        self.calls: list[Call] = []
        self.refusals = 0
        self.running = 0
        self.most_running = 0
        self.running_of: dict[str, int] = {}
        self.most_running_of: dict[str, int] = {}
        self._luck = Random(self.plan.seed)

    async def invoke(self, invocation: Invocation) -> Response:
        now = anyio.current_time()
        troubled = now < self.plan.ends_at
        if troubled and self._luck.random() < self.plan.busy_rate:
            self.refusals += 1
            return await self._refuse()
        call = self._begin(invocation, now)
        self._count(call.mapping, +1)
        try:
            await anyio.sleep(call.ended_at - now)
        finally:
            self._count(call.mapping, -1)
        return self._end(call, troubled)

    async def _refuse(self) -> Response:
        await anyio.sleep(self._luck.uniform(0, 0.1))
        retry_after = self._luck.choice([None, None, 1.0, 5.0])
        return Busy(reason="throttled", retry_after=retry_after, is_throttle=self._luck.random() < 0.8)

    def _begin(self, invocation: Invocation, now: float) -> Call:
        records = orjson.loads(invocation.payload)["Records"]
        call = Call(
            mapping=invocation.mapping,
            request_id=invocation.request_id,
            attempt=invocation.attempt,
            began_at=now,
            ended_at=now + self._luck.uniform(*self.plan.duration_in_seconds),
            message_ids=[record["messageId"] for record in records],
            receipts=[record["receiptHandle"] for record in records],
            groups=[record["attributes"].get("MessageGroupId") for record in records],
        )
        self.calls.append(call)
        return call

    def _count(self, mapping: str, change: int) -> None:
        self.running += change
        self.most_running = max(self.most_running, self.running)
        self.running_of[mapping] = self.running_of.get(mapping, 0) + change
        self.most_running_of[mapping] = max(self.most_running_of.get(mapping, 0), self.running_of[mapping])

    def _end(self, call: Call, troubled: bool) -> Response:
        lot = self._luck.random() if troubled else 1.0
        if lot < self.plan.lost_answer_rate:
            call.ending = "answer_lost"
            return LostAnswer(reason="ConnectionLost")
        if lot < self.plan.lost_answer_rate + self.plan.failure_rate:
            call.ending = "failed"
            return FunctionError(error_type="ValueError", message="by plan")
        if self.plan.answer is not None:
            call.ending = "succeeded"
            return Answered(self.plan.answer)
        failed = self._failed_items(call, troubled)
        if failed and not self.plan.names_failures:
            call.ending = "failed"
            return FunctionError(error_type="PoisonError", message="by plan")
        call.done = frozenset(call.message_ids) - failed
        call.ending = "partly_failed" if failed else "succeeded"
        items = [{"itemIdentifier": message_id} for message_id in sorted(failed)]
        return Answered(orjson.dumps({"batchItemFailures": items}))

    def _failed_items(self, call: Call, troubled: bool) -> frozenset[str]:
        """Once a message of a group fails, so does all that follows it in its group, as AWS asks of FIFO handlers."""
        failed: set[str] = set()
        failed_groups: set[str] = set()
        rate = self.plan.item_failure_rate if troubled and self.plan.names_failures else 0.0
        for message_id, group in zip(call.message_ids, call.groups, strict=True):
            if message_id in self.plan.poison or group in failed_groups or self._luck.random() < rate:
                failed.add(message_id)
                if group is not None:
                    failed_groups.add(group)
        return frozenset(failed)


def ids_of(calls: Collection[Call]) -> list[str]:
    """Every message id handed over, in order."""
    return [message_id for call in calls for message_id in call.message_ids]
