"""Does a delivery of queue messages agree with an obvious model, a recursion over lists?"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, count, repeat

from hypothesis import given
from hypothesis import strategies as st

from poller.core.queues.delivery import Delivery, Finish, Invoke, Wait, give_back
from poller.core.queues.in_hand import MessageInHand, Receive
from poller.model.ids import MessageGroupId, MessageId, ReceiptHandle, RequestId
from poller.model.message import Message
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded

RUNS_UNTIL = 500.0
RETURNS_AT = 100.0

Names = list[str]

BATCHES = st.lists(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=1, max_size=6), min_size=1, max_size=4)
"""The group of each message of each batch; one without a group is of a standard queue."""

SCRIPT = st.lists(st.sampled_from(["ok", "raise", "throttle", "too large"]) | st.sets(st.integers(0, 5)), max_size=30)
"""The function's outcome at each call; numbers are the indexes of the messages that it reports.

After the script it succeeds.
"""

Deed = str | set[int]


def name_all(batches: list[list[str]]) -> list[Names]:
    """Give each message its own name, which begins with its group."""
    numbers = count()
    return [[f"{group}{next(numbers)}" for group in batch] for batch in batches]


def group_of(name: str) -> str:
    return name.rstrip("0123456789")


@dataclass
class Model:
    """The expected result, in the simplest form."""

    script: Iterator[Deed]
    invoked: list[Names] = field(default_factory=list)
    deleted: Names = field(default_factory=list)
    shown: Names = field(default_factory=list)

    def deliver(self, batch: Names, later: list[Names]) -> None:
        if not batch:
            return
        self.invoked.append(list(batch))
        deed = next(self.script)
        if deed == "throttle":
            self.deliver(batch, later)
        elif deed == "too large" and len(batch) > 1:
            first, second = batch[: len(batch) // 2], batch[len(batch) // 2 :]
            self.deliver(first, [second, *later])
            self.deliver(second, later)
        else:
            failed = failed_in(batch, deed)
            groups = {group_of(name) for name in failed} - {""}
            self.deleted += [name for name in batch if name not in failed]
            self.shown += failed
            for other in later:
                self.shown += [name for name in other if group_of(name) in groups]
                other[:] = [name for name in other if group_of(name) not in groups]


def failed_in(batch: Names, deed: Deed) -> Names:
    if isinstance(deed, str):
        return batch if deed in ("raise", "too large") else []
    return [name for place, name in enumerate(batch) if place in deed]


def outcome_of(batch: Names, deed: Deed) -> Outcome:
    if deed == "throttle":
        return Postponed("Throttled", None, True)
    if deed == "too large" and len(batch) > 1:
        return Oversized("HTTP.413")
    failed = failed_in(batch, deed)
    if isinstance(deed, str):
        return Failed("KeyError") if failed else Succeeded()
    return PartlyFailed(frozenset(failed)) if failed else Succeeded()


def hold(batches: list[Names]) -> Delivery:
    ids = count()
    delivery = Delivery(new_request_id=lambda: RequestId(str(next(ids))), randomness=random.Random(1))
    for batch in batches:
        together = []
        for name in batch:
            group = MessageGroupId(group_of(name)) if group_of(name) else None
            message = Message(MessageId(name), ReceiptHandle(name), group, 0.0, {})
            together.append(MessageInHand(message, b"", Receive(0.0, 0.0, 200, int(RETURNS_AT))))
        delivery.put(together, begins_batch=True)
    return delivery


def names(messages: object) -> Names:
    assert isinstance(messages, list)
    return [held.message.message_id for held in messages]


@dataclass
class Seen:
    """The steps that a delivery asked for."""

    delivery: Delivery
    invoked: list[Names] = field(default_factory=list)
    deleted: Names = field(default_factory=list)
    shown: Names = field(default_factory=list)
    is_running: bool = False

    def drive(self, script: Iterator[Deed], *, invocations: int) -> None:
        """Carry out the steps of a delivery, and stop it during the invocation after the last allowed one."""
        delivery = self.delivery
        while (step := delivery.step()) is not None:
            match step:
                case Invoke():
                    batch = names(list(delivery.messages))
                    delivery.begin()
                    if len(self.invoked) == invocations:
                        self.is_running = True
                        return
                    self.invoked.append(batch)
                    delivery.answered(outcome_of(batch, next(script)), now=0.0, may_run_until=RUNS_UNTIL)
                case Finish(delete=delete, show=show):
                    self.deleted += names(list(delete))
                    self.shown += names(list(show))
                case Wait():
                    pass


def endless(script: list[Deed]) -> Iterator[Deed]:
    return chain(script, repeat("ok"))


@given(BATCHES, SCRIPT)
def test_a_delivery_invokes_deletes_and_shows_what_the_model_does(groups: list[list[str]], script: list[Deed]) -> None:
    batches = name_all(groups)
    seen = Seen(hold(batches))
    seen.drive(endless(script), invocations=1000)
    model = Model(endless(script))
    later = [list(batch) for batch in batches]
    while later:
        model.deliver(later.pop(0), later)
    assert seen.invoked == model.invoked
    assert seen.deleted == model.deleted
    assert seen.shown == model.shown
    assert sorted(seen.deleted + seen.shown) == sorted(chain.from_iterable(batches)), "each message ends once"


@given(BATCHES, SCRIPT)
def test_no_message_is_invoked_after_an_earlier_one_of_its_group_was_given_up(
    groups: list[list[str]], script: list[Deed]
) -> None:
    batches = name_all(groups)
    seen = Seen(hold(batches))
    delivery = seen.delivery
    given_up: set[str] = set()
    deeds = endless(script)
    while (step := delivery.step()) is not None:
        if isinstance(step, Finish):
            given_up |= {group_of(name) for name in names(list(step.show))} - {""}
        elif isinstance(step, Invoke):
            batch = names(list(delivery.messages))
            assert not given_up & {group_of(name) for name in batch}
            delivery.begin()
            delivery.answered(outcome_of(batch, next(deeds)), now=0.0, may_run_until=RUNS_UNTIL)


@given(BATCHES, SCRIPT, st.integers(0, 12))
def test_a_stop_at_any_time_releases_the_rest_and_keeps_busy_groups_hidden(
    groups: list[list[str]], script: list[Deed], invocations: int
) -> None:
    batches = name_all(groups)
    seen = Seen(hold(batches))
    seen.drive(endless(script), invocations=invocations)
    delivery = seen.delivery
    rest = sorted(set(chain.from_iterable(batches)) - {*seen.deleted, *seen.shown})
    running = {group_of(held.message.message_id) for held in delivery.messages} - {""} if seen.is_running else set()
    assert sorted(held.message.message_id for held in delivery.hidden()) == rest
    assert delivery.message_count == len(rest)
    delete, show = give_back([delivery], may_run_until=RUNS_UNTIL)
    assert sorted(held.message.message_id for held in (*delete, *show)) == rest
    assert not delete, "nothing was decided"
    for held in show:
        assert held.returns_at == (RUNS_UNTIL if group_of(held.message.message_id) in running else 0.0)
    assert delivery.step() is None
