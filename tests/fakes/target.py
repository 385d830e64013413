"""How does a fake function behave?

A seeded plan says how long each call takes, and whether it succeeds, fails, fails partly, or is throttled.

A function does not depend on the daemon that calls it: if the client disconnects, the function runs to its planned end.
`calls` has every call in the order of the beginnings, with the outcome of each message, for checks afterwards.
"""

from __future__ import annotations

from collections.abc import Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import takewhile
from random import Random
from typing import Any, Literal

import anyio
import orjson

from poller.model.invocation import (
    Answered,
    FunctionError,
    Invocation,
    LostAnswer,
    Response,
    Throttled,
    TooLarge,
    Unreachable,
)

LIFE: ContextVar[int] = ContextVar("life", default=0)
"""The number of the process that calls a function in this task."""

RUN: ContextVar[int] = ContextVar("run", default=0)
"""The number of the run of a mapping that calls a function in this task."""

Ending = Literal["succeeded", "partly_failed", "failed", "answer_lost", "cut"]


@dataclass(kw_only=True)
class Call:
    """One run of the function. `done` are the messages whose success the client knows. `ended_at` is the planned end.

    A record of a stream is identified by its sequence number, and has no receipt handle and no group. If a batch failed
    partly, only the records before the first failed one are done. `window` is the tumbling window with its state, or
    None. `life` is the number of the process that has called the function, and `run` is the number of its run, if they
    have numbers. `token` is the fencing token.
    """

    mapping: str
    request_id: str
    attempt: int
    began_at: float
    ended_at: float
    message_ids: list[str]
    receipts: list[str]
    groups: list[str | None]
    is_stream: bool = False
    window: dict[str, Any] | None = None
    life: int = 0
    run: int = 0
    token: int | None = None
    ending: Ending = "cut"
    done: frozenset[str] = frozenset()


@dataclass(kw_only=True)
class FunctionPlan:
    """The plan of a function. A rate is a chance from 0 to 1 for each call until `ends_at`. Later, every call succeeds.

    A message whose id is in `poison` always fails. With `names_failures`, it fails alone (on a FIFO queue, together
    with the later messages of its group). Otherwise its whole batch fails. An event of more than `largest_event` bytes
    is always refused. With `answer`, every call that ends returns exactly this answer. In a tumbling window, the
    returned state lists the records of the window that are done.
    """

    seed: int = 0
    duration_in_seconds: tuple[float, float] = (0.0, 1.0)
    throttle_rate: float = 0.0
    failure_rate: float = 0.0
    lost_answer_rate: float = 0.0
    item_failure_rate: float = 0.0
    names_failures: bool = False
    ends_at: float = float("inf")
    answer: bytes | None = None
    largest_event: int | None = None
    poison: set[str] = field(default_factory=set)


class FakeTarget:
    """`ports.Target`. `running` counts the calls that a client still waits for.

    `too_large` has the number of records of each event that was refused because of its size.
    """

    def __init__(self, plan: FunctionPlan | None = None) -> None:
        self.plan = plan or FunctionPlan()
        self.calls: list[Call] = []
        self.too_large: list[int] = []
        self.running = 0
        self.most_running = 0
        self.running_of: dict[str, int] = {}
        self.most_running_of: dict[str, int] = {}
        self._randomness = Random(self.plan.seed)
        self._starts_until = 0.0

    async def invoke(self, invocation: Invocation) -> Response:
        now = anyio.current_time()
        troubled = now < self.plan.ends_at
        if self.plan.largest_event is not None and len(invocation.payload) > self.plan.largest_event:
            self.too_large.append(len(orjson.loads(invocation.payload)["Records"]))
            return TooLarge(error_type="HTTP.413", message="413 Content Too Large")
        if troubled and self._randomness.random() < self.plan.throttle_rate:
            return await self._refuse()
        call = self._begin(invocation, now)
        self._count(call.mapping, +1)
        try:
            await anyio.sleep(call.ended_at - now)
        finally:
            self._count(call.mapping, -1)
        return self._end(call, troubled)

    def restart(self, *, until: float) -> None:
        """Let each invocation that begins before `until` take the longest time: its child process must start."""
        self._starts_until = until

    def lose_answer(self, invocation: Invocation) -> None:
        """Note that this invocation has just ended, and that the client never got its answer."""
        for call in reversed(self.calls):
            if (call.request_id, call.attempt) == (invocation.request_id, invocation.attempt):
                call.ending, call.done = "answer_lost", frozenset()
                return

    async def _refuse(self) -> Response:
        await anyio.sleep(self._randomness.uniform(0, 0.1))
        retry_after = self._randomness.choice([None, None, 1.0, 5.0])
        if self._randomness.random() < 0.8:
            return Throttled(reason="throttled", retry_after=retry_after)
        return Unreachable(reason="not there")

    def _begin(self, invocation: Invocation, now: float) -> Call:
        event = orjson.loads(invocation.payload)
        duration, longest = self._randomness.uniform(*self.plan.duration_in_seconds), self.plan.duration_in_seconds[1]
        identities = [_identity(record) for record in event["Records"]]
        call = Call(
            mapping=invocation.mapping or "",
            request_id=invocation.request_id,
            attempt=invocation.attempt,
            began_at=now,
            ended_at=now + (longest if now < self._starts_until else duration),
            message_ids=[identity[0] for identity in identities],
            receipts=[identity[1] for identity in identities],
            groups=[identity[2] for identity in identities],
            is_stream="receiptHandle" not in event["Records"][0] if identities else True,
            window=event if "window" in event else None,
            life=LIFE.get(),
            run=RUN.get(),
            token=invocation.fencing_token,
        )
        self.calls.append(call)
        return call

    def _count(self, mapping: str, change: int) -> None:
        self.running += change
        self.most_running = max(self.most_running, self.running)
        self.running_of[mapping] = self.running_of.get(mapping, 0) + change
        self.most_running_of[mapping] = max(self.most_running_of.get(mapping, 0), self.running_of[mapping])

    def _end(self, call: Call, troubled: bool) -> Response:
        lot = self._randomness.random() if troubled else 1.0
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
        call.done = _done(call, failed)
        call.ending = "partly_failed" if failed else "succeeded"
        answer: dict[str, Any] = {"batchItemFailures": [{"itemIdentifier": each} for each in sorted(failed)]}
        if call.window is not None:
            seen = call.window["state"].get("seen", [])
            answer["state"] = {"seen": seen + [each for each in call.message_ids if each in call.done]}
        return Answered(orjson.dumps(answer))

    def _failed_items(self, call: Call, troubled: bool) -> frozenset[str]:
        """Return the ids of the failed messages.

        After a failed message, all later messages of its group fail, too, as AWS requires of handlers for FIFO queues.
        """
        failed: set[str] = set()
        failed_groups: set[str] = set()
        rate = self.plan.item_failure_rate if troubled and self.plan.names_failures else 0.0
        for message_id, group in zip(call.message_ids, call.groups, strict=True):
            if message_id in self.plan.poison or group in failed_groups or self._randomness.random() < rate:
                failed.add(message_id)
                if group is not None:
                    failed_groups.add(group)
        return frozenset(failed)


def _identity(record: dict[str, Any]) -> tuple[str, str, str | None]:
    """Return the record's id, receipt handle and group."""
    if "kinesis" in record:
        return record["kinesis"]["sequenceNumber"], "", None
    if "dynamodb" in record:
        return record["dynamodb"]["SequenceNumber"], "", None
    return record["messageId"], record["receiptHandle"], record["attributes"].get("MessageGroupId")


def _done(call: Call, failed: frozenset[str]) -> frozenset[str]:
    if not call.is_stream:
        return frozenset(call.message_ids) - failed
    return frozenset(takewhile(lambda number: number not in failed, call.message_ids))


def ids_of(calls: Collection[Call]) -> list[str]:
    """Return the ids of all messages that the function got, in order."""
    return [message_id for call in calls for message_id in call.message_ids]
