"""Does a delivery agree with an obvious model, a recursion over lists?"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from poller.core.streams.retry import Delivery, Discard, Invoke, RetryPolicy, Settle, Wait
from poller.model.ids import RequestId
from poller.model.invocation import Answered
from poller.model.order import ACTIONS, Action
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded
from poller.model.stream import SequenceNumber

ANSWER = Answered(b"")


class Held(NamedTuple):
    sequence_number: SequenceNumber
    arrived_at: float = 0.0
    encoded: bytes = b"{}"


Event = tuple[str, tuple[int, ...]]

SCRIPT = st.lists(st.sampled_from(["ok", "raise", "throttle", "too large"]) | st.integers(0, 20), max_size=60)
"""The function's outcome at each call; a number is the index of the record that it reports.

After the script it always raises, or always succeeds.
"""


@dataclass
class Model:
    """The expected result, in the simplest form."""

    retries: int
    bisects: bool
    script: Iterator[str | int]
    events: list[Event] = field(default_factory=list)
    is_too_large: bool = False

    def deliver(self, batch: tuple[int, ...]) -> None:
        for _ in range(self.retries + 1):
            failed_from = self.invoke(batch)
            if failed_from is None:
                self.events.append(("settled", batch))
                return
            if failed_from > 0:
                self.events.append(("settled", batch[:failed_from]))
                self.deliver(batch[failed_from:])
                return
            if len(batch) > 1 and (self.bisects or self.is_too_large):
                self.deliver(batch[: len(batch) // 2])
                self.deliver(batch[len(batch) // 2 :])
                return
        self.events.append(("discarded", batch))

    def invoke(self, batch: tuple[int, ...]) -> int | None:
        """Return the index of the first failed record, or None for a success."""
        while True:
            self.events.append(("invoked", batch))
            word = next(self.script)
            self.is_too_large = word == "too large"
            match word:
                case "throttle":
                    continue
                case "ok":
                    return None
                case int(place):
                    return place % len(batch)
                case _:
                    return 0


def outcome_of(word: str | int, records: tuple[int, ...]) -> Outcome:
    match word:
        case "ok":
            return Succeeded()
        case "throttle":
            return Postponed("Throttled", None, True)
        case "too large" if len(records) > 1:
            return Oversized("HTTP.413")
        case int(place):
            first = place % len(records)
            also = {str(records[-1])}  # what is listed beside the lowest one makes no difference
            return PartlyFailed(frozenset({str(records[first])} | also))
    return Failed("Error")


@dataclass
class Run:
    """A delivery that is carried out over a script, without waiting."""

    delivery: Delivery[Held]
    now: float = 0.0
    events: list[Event] = field(default_factory=list)
    invocations: list[tuple[Invoke[Held], float, str | int]] = field(default_factory=list)
    discards: list[tuple[Discard[Held], float]] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    orders: Iterator[Action | None] = field(default_factory=lambda: itertools.repeat(None))
    """The order that comes during each wait and each invocation."""

    def carry_out(self, script: Iterator[str | int]) -> None:
        while (step := self.delivery.step(self.now)) is not None:
            match step:
                case Wait(seconds=seconds):
                    assert seconds > 0
                    self.waits.append(step)
                    self.now += 0.0 if self.obey() else seconds
                case Invoke():
                    word = next(script)
                    self.obey()
                    self.events.append(("invoked", numbers(step.records)))
                    self.invocations.append((step, self.now, word))
                    self.delivery.answered(outcome_of(word, numbers(step.records)), ANSWER, now=self.now)
                case Settle():
                    self.events.append(("settled", numbers(step.records)))
                case Discard():
                    self.events.append(("discarded", numbers(step.records)))
                    self.discards.append((step, self.now))

    def obey(self) -> bool:
        """Give the next order to the delivery. Return whether there is one and it is not refused."""
        order = next(self.orders, None)
        if order is None or self.delivery.denial(order) is not None:
            return False
        self.delivery.order(order)
        return True


def numbers(records: object) -> tuple[int, ...]:
    assert isinstance(records, tuple | list)
    return tuple(int(record.sequence_number) for record in records)


def run_of(records: list[Held], policy: RetryPolicy, script: list[str | int], after: str) -> Run:
    ids = (RequestId(str(number)) for number in itertools.count())
    delivery = Delivery(records, policy=policy, new_request_id=lambda: next(ids), randomness=random.Random(1), now=0.0)
    run = Run(delivery)
    run.carry_out(itertools.chain(script, itertools.repeat(after)))
    return run


def held(size: int) -> list[Held]:
    return [Held(SequenceNumber(str(number))) for number in range(8, 8 + size)]


@given(st.integers(1, 12), st.integers(0, 4), st.booleans(), SCRIPT, st.sampled_from(["ok", "raise"]))
def test_a_delivery_does_what_the_model_does(
    size: int, retries: int, bisects: bool, script: list[str | int], after: str
) -> None:
    run = run_of(held(size), RetryPolicy(maximum_retry_attempts=retries, bisects=bisects), script, after)
    model = Model(retries, bisects, itertools.chain(script, itertools.repeat(after)))
    model.deliver(tuple(range(8, 8 + size)))
    assert run.events == model.events


@given(st.integers(1, 12), st.integers(0, 4), st.booleans(), SCRIPT, st.sampled_from(["ok", "raise"]), st.data())
def test_every_record_is_done_once_and_in_order_even_if_records_expire(
    size: int, retries: int, bisects: bool, script: list[str | int], after: str, data: st.DataObject
) -> None:
    arrivals = data.draw(st.lists(st.floats(-60, 0), min_size=size, max_size=size))
    records = [one._replace(arrived_at=at) for one, at in zip(held(size), arrivals, strict=True)]
    policy = RetryPolicy(maximum_retry_attempts=retries, maximum_record_age_in_seconds=60, bisects=bisects)
    run = run_of(records, policy, script, after)
    done = [number for word, batch in run.events if word != "invoked" for number in batch]
    assert done == list(range(8, 8 + size))
    for step, now, _ in run.invocations:
        assert now < step.records[0].arrived_at + 60, "an expired head is not invoked"
    for discard, now in run.discards:
        is_old = all(now >= record.arrived_at + 60 for record in discard.records)
        assert discard.condition == "RetryAttemptsExhausted" or is_old
        assert (discard.response is None) == (discard.condition == "RecordAgeExceeded")


@given(st.integers(1, 12), st.integers(0, 4), st.booleans(), SCRIPT, st.sampled_from(["ok", "raise"]))
def test_one_request_id_belongs_to_one_batch_within_its_attempts(
    size: int, retries: int, bisects: bool, script: list[str | int], after: str
) -> None:
    run = run_of(held(size), RetryPolicy(maximum_retry_attempts=retries, bisects=bisects), script, after)
    for _, group in itertools.groupby(run.invocations, key=lambda invocation: invocation[0].request_id):
        steps = list(group)
        assert len({numbers(step.records) for step, _, _ in steps}) == 1, "only an unchanged batch keeps its id"
        words = [word for _, _, word in steps]
        is_single = len(steps[0][0].records) == 1
        assert is_single or "too large" not in words[:-1], "what is too large is not tried again as it is"
        assert len([word for word in words if word != "throttle"]) <= retries + 1
        assert "ok" not in words[:-1], "what succeeded is not invoked again"
        accepted = 0
        for step, _, word in steps:
            assert step.attempt == accepted + 1, "a throttle is no attempt"
            accepted += word != "throttle"
    ids = [request_id for request_id, _ in itertools.groupby(step.request_id for step, _, _ in run.invocations)]
    assert len(ids) == len(set(ids)), "an id that was left is never used again"
    for discard, _ in run.discards:
        assert discard.invoke_count == retries + 1


@given(st.integers(0, 40), st.booleans(), st.integers(1, 5))
def test_a_throttle_uses_no_attempt_and_splits_no_batch(throttles: int, bisects: bool, size: int) -> None:
    policy = RetryPolicy(maximum_retry_attempts=0, bisects=bisects)
    run = run_of(held(size), policy, ["throttle"] * throttles, "ok")
    assert {numbers(step.records) for step, _, _ in run.invocations} == {tuple(range(8, 8 + size))}
    assert len({step.request_id for step, _, _ in run.invocations}) == 1
    assert len(run.waits) == throttles
    assert not run.discards


ORDERS = st.lists(st.sampled_from([None, *ACTIONS]), max_size=30)


@given(st.integers(1, 12), st.integers(0, 4), st.booleans(), SCRIPT, ORDERS, st.sampled_from(["ok", "raise"]))
def test_every_record_is_done_once_and_in_order_whatever_a_person_orders(
    size: int, retries: int, bisects: bool, script: list[str | int], orders: list[Action | None], after: str
) -> None:
    ids = (RequestId(str(number)) for number in itertools.count())
    delivery = Delivery(
        held(size),
        policy=RetryPolicy(maximum_retry_attempts=retries, bisects=bisects),
        new_request_id=lambda: next(ids),
        randomness=random.Random(1),
        now=0.0,
    )
    run = Run(delivery, orders=iter(orders))
    run.carry_out(itertools.chain(script, itertools.repeat(after)))
    done = [number for word, batch in run.events if word != "invoked" for number in batch]
    assert done == list(range(8, 8 + size))
    for discard, _ in run.discards:
        assert discard.condition != "DiscardedByRequest" or "discard" in orders
        assert discard.condition != "RetryAttemptsExhausted" or discard.invoke_count == retries + 1
    assert "discard" in orders or after != "ok" or all(d.condition != "DiscardedByRequest" for d, _ in run.discards)


@given(st.integers(2, 12), st.lists(st.sampled_from(["retry", "bisect"]), max_size=30))
def test_a_batch_that_may_be_retried_forever_gets_past_a_poison_record_only_by_orders(
    size: int, orders: list[Action]
) -> None:
    """The function fails as long as the first record is in the batch, and a person bisects it and then discards it."""
    ids = (RequestId(str(number)) for number in itertools.count())
    delivery = Delivery(
        held(size), policy=RetryPolicy(), new_request_id=lambda: next(ids), randomness=random.Random(1), now=0.0
    )
    bisect: Action = "bisect"
    ordered = itertools.chain(orders, itertools.repeat(bisect, 4))
    events: list[Event] = []
    while (step := delivery.step(0.0)) is not None:
        match step:
            case Invoke():
                outcome = Failed("Error") if numbers(step.records)[0] == 8 else Succeeded()
                delivery.answered(outcome, ANSWER, now=0.0)
            case Wait():
                order: Action = next(ordered, "discard")
                if delivery.denial(order) is None:
                    delivery.order(order)
            case Settle():
                events.append(("settled", numbers(step.records)))
            case Discard():
                events.append((step.condition, numbers(step.records)))
    assert events[0] == ("DiscardedByRequest", (8,))
    assert [number for _, batch in events[1:] for number in batch] == list(range(9, 8 + size))
