"""With which calls are messages deleted and made visible? The queue fails as the test says."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

import anyio
import pytest

from poller.core.backoff import DELETE
from poller.core.queues.delivery import Finish
from poller.core.queues.in_hand import MessageInHand, Receive
from poller.core.queues.visibility import LONGEST_IN_SECONDS
from poller.engine.queues.finishing import TRIES, Finisher
from poller.engine.source_health import SourceHealth
from poller.errors import AccessDenied, ServiceError, Throttled
from poller.facts import DeleteFailed, Fact, MessagesReleased
from poller.model.arn import Arn
from poller.model.ids import MappingName, MessageGroupId, MessageId, ReceiptHandle
from poller.model.message import Message, QueueAttributes, RejectedEntry
from poller.ports import SourceClock
from tests.fakes.clock import VirtualClock, service_clock
from tests.simulation.world import run_seeded

QUEUE = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:q")
M = MappingName("m")


class Queue:
    """Notes each call, and rejects the messages of `rejected`, or fails with `error`."""

    def __init__(self, *, rejected: Sequence[tuple[str, bool]] = (), error: ServiceError | None = None) -> None:
        self.changes: list[tuple[list[str], int]] = []
        self.deletes: list[list[str]] = []
        self._is_final = dict(rejected)
        self._error = error

    @property
    def clock(self) -> SourceClock:
        return service_clock()

    async def describe(self) -> QueueAttributes:
        raise AssertionError("nothing is looked up")

    async def receive(
        self, *, count: int, wait_in_seconds: int, visibility_timeout_in_seconds: int | None
    ) -> list[Message]:
        raise AssertionError("nothing is received")

    async def delete(self, messages: Sequence[Message]) -> list[RejectedEntry]:
        self.deletes.append([str(message.message_id) for message in messages])
        return self._answer(messages)

    async def change_visibility(self, messages: Sequence[Message], *, timeout_in_seconds: int) -> list[RejectedEntry]:
        self.changes.append(([str(message.message_id) for message in messages], timeout_in_seconds))
        return self._answer(messages)

    def _answer(self, messages: Sequence[Message]) -> list[RejectedEntry]:
        if self._error is not None:
            raise self._error
        known = [message for message in messages if message.message_id in self._is_final]
        return [RejectedEntry(message, "Refused", self._is_final[message.message_id]) for message in known]


def held(
    name: str, *, returns_at: float = 0.0, received_at: float = 0.0, group: MessageGroupId | None = None
) -> MessageInHand:
    """A message that is hidden until it is deleted or made visible."""
    message = Message(MessageId(name), ReceiptHandle(name), group, 0.0, {})
    one = MessageInHand(message, b"", Receive(received_at, received_at, LONGEST_IN_SECONDS, 30))
    one.return_at(returns_at)
    return one


def facts_after(queue: Queue, then: Callable[[Finisher], Awaitable[None]]) -> list[Fact]:
    facts: list[Fact] = []

    async def main() -> None:
        randomness = random.Random(1)
        health = SourceHealth(mapping=M, source=QUEUE, clock=VirtualClock(), emit=lambda _: None)
        await then(Finisher(mapping=M, source=queue, health=health, emit=facts.append, randomness=randomness))

    run_seeded(1, main)
    return facts


def test_messages_are_shown_in_the_order_of_their_times_with_one_call_for_each_time() -> None:
    queue = Queue()
    messages = [
        held("c", returns_at=30.0),
        held("a", returns_at=10.0),
        held("d", returns_at=29.5),
        held("b", returns_at=20),
    ]

    async def in_the_middle_of_a_second(finisher: Finisher) -> None:
        await anyio.sleep(0.75)
        await finisher.show(messages)

    facts_after(queue, in_the_middle_of_a_second)
    assert queue.changes == [(["a"], 10), (["b"], 20), (["c", "d"], 30)]


def test_messages_of_one_group_share_a_call_because_simultaneous_calls_may_overtake_each_other() -> None:
    queue = Queue()
    names = [(f"{group}{number}", group) for number in range(3) for group in "abcde"]
    messages = [held(name, group=MessageGroupId(group)) for name, group in names]
    facts_after(queue, lambda finisher: finisher.show(messages))
    assert sorted(name for called, _ in queue.changes for name in called) == sorted(name for name, _ in names)
    assert all(len(called) <= 10 for called, _ in queue.changes)
    for group in "abcde":
        assert [f"{group}{number}" for number in range(3)] in [
            [name for name in called if name.startswith(group)] for called, _ in queue.changes
        ]


def test_a_call_asks_for_no_more_than_the_oldest_of_its_messages_may_be_hidden() -> None:
    queue = Queue()

    async def just_before_the_end(finisher: Finisher) -> None:
        await anyio.sleep(LONGEST_IN_SECONDS - 100)
        until = anyio.current_time() + 200.0
        await finisher.show([held("young", returns_at=until, received_at=50.0), held("old", returns_at=until)])

    facts_after(queue, just_before_the_end)
    assert queue.changes == [(["young", "old"], 100)]


@pytest.mark.parametrize("queue", [Queue(rejected=[("a", True)]), Queue(error=AccessDenied("no", code="AccessDenied"))])
def test_a_final_error_is_not_tried_again(queue: Queue) -> None:
    facts_after(queue, lambda finisher: finisher.show([held("a", returns_at=10.0)]))
    assert queue.changes == [(["a"], 10)]


@pytest.mark.parametrize(
    ("rejected", "error", "released"),
    [
        ([], None, [3]),
        ([("b", False)], None, [2]),
        ([("a", True), ("b", False)], None, [1]),
        ([("a", True), ("b", True), ("c", True)], None, []),
        ([], Throttled("slow down", code="RequestThrottled"), []),
        ([], AccessDenied("no", code="AccessDenied"), []),
    ],
)
def test_only_messages_that_the_queue_shows_again_count_as_released(
    rejected: list[tuple[str, bool]], error: ServiceError | None, released: list[int]
) -> None:
    queue = Queue(rejected=rejected, error=error)
    messages = [held("a"), held("b"), held("c")]
    facts = facts_after(queue, lambda finisher: finisher.finish_once(Finish([], messages)))
    assert [fact.records for fact in facts if isinstance(fact, MessagesReleased)] == released
    assert len(queue.changes) == 1, "at a stop there is no second try"


def test_a_delete_is_tried_again_for_the_remaining_messages_and_given_up_after_the_last_try() -> None:
    queue = Queue(rejected=[("b", False)])
    facts = facts_after(queue, lambda finisher: finisher.delete([held("a"), held("b")]))
    assert queue.deletes == [["a", "b"], *[["b"]] * (TRIES - 1)]
    failed = [fact for fact in facts if isinstance(fact, DeleteFailed)]
    assert failed == [*[DeleteFailed(M, 1, "Refused", False)] * TRIES, DeleteFailed(M, 1, "GivenUp", True)]


def test_a_delete_of_messages_that_are_no_longer_hidden_does_not_count_as_a_success() -> None:
    queue = Queue(error=AccessDenied("no", code="AccessDenied"))

    async def just_before_the_end(finisher: Finisher) -> None:
        await anyio.sleep(LONGEST_IN_SECONDS - DELETE.initial / 2)
        await finisher.delete([held("a")])

    facts = facts_after(queue, just_before_the_end)
    assert facts == [DeleteFailed(M, 1, "AccessDenied", False), DeleteFailed(M, 1, "ReceiptExpired", True)]
    assert len(queue.deletes) == 1


@pytest.mark.parametrize("is_final", [True, False])
def test_a_message_whose_delete_is_given_up_is_left_to_the_queue(is_final: bool) -> None:
    queue, message = Queue(rejected=[("a", is_final)]), held("a")

    async def delete(finisher: Finisher) -> None:
        left = await finisher.try_delete([message])
        assert [one.is_left for one in left] == ([] if is_final else [False]), "it is tried again"
        await finisher.delete(left)

    facts_after(queue, delete)
    assert message.is_left


def test_a_message_that_is_hidden_no_longer_is_left_to_the_queue() -> None:
    queue, message = Queue(error=AccessDenied("no", code="AccessDenied")), held("a")

    async def just_before_the_end(finisher: Finisher) -> None:
        await anyio.sleep(LONGEST_IN_SECONDS - DELETE.initial / 2)
        await finisher.delete([message])

    facts_after(queue, just_before_the_end)
    assert message.is_left


def test_at_a_stop_a_delete_that_fails_is_given_up_at_once() -> None:
    queue = Queue(error=Throttled("slow down", code="RequestThrottled"))
    facts = facts_after(queue, lambda finisher: finisher.finish_once(Finish([held("a"), held("b")], [])))
    assert queue.deletes == [["a", "b"]]
    assert facts == [DeleteFailed(M, 2, "RequestThrottled", False), DeleteFailed(M, 2, "GivenUp", True)]


def test_a_change_of_visibility_that_fails_is_tried_as_often_as_a_delete() -> None:
    queue = Queue(error=Throttled("slow down", code="RequestThrottled"))
    facts_after(queue, lambda finisher: finisher.finish(Finish([], [held("a", returns_at=1000.0)])))
    assert len(queue.changes) == TRIES
