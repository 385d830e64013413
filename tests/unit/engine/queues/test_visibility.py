"""Which messages does the keeper hide again? The calls of the queue take as long as the test says."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence

import anyio
import pytest

from poller.core.queues.delivery import Delivery, Finish
from poller.core.queues.in_hand import MessageInHand, Receive
from poller.engine.queues.finishing import Finisher
from poller.engine.queues.visibility import VisibilityKeeper
from poller.engine.source_health import SourceHealth
from poller.errors import AccessDenied, ServiceError, Throttled
from poller.facts import Fact, VisibilityChangeFailed
from poller.model.arn import Arn
from poller.model.ids import MappingName, MessageId, ReceiptHandle, RequestId
from poller.model.message import Message, QueueAttributes, RejectedEntry
from poller.model.outcome import Failed, Succeeded
from poller.ports import SourceClock
from tests.fakes.clock import VirtualClock, service_clock
from tests.simulation.world import run_seeded

QUEUE = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:q")
M = MappingName("m")
TIMEOUT = 100
MAY_RUN_UNTIL = 90.0
HALF = 62.5
"""The time when the keeper hides again the messages that were received at 0."""


class Queue:
    """Notes the timeout that each message gets, and rejects those that were deleted.

    A call to change timeouts reaches the queue after `slow` seconds. The next calls fail with `errors`, one each.
    """

    def __init__(self, *, slow: float) -> None:
        self.changes: list[tuple[str, int]] = []
        self.deleted: set[str] = set()
        self.errors: list[ServiceError] = []
        self.slow = slow

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
        self.deleted.update(message.message_id for message in messages)
        return []

    async def change_visibility(self, messages: Sequence[Message], *, timeout_in_seconds: int) -> list[RejectedEntry]:
        await anyio.sleep(self.slow)
        if self.errors:
            raise self.errors.pop(0)
        self.changes += [(message.message_id, timeout_in_seconds) for message in messages]
        return [RejectedEntry(message, "Gone", True) for message in messages if message.message_id in self.deleted]


class Hand:
    """A batch whose function runs, with the keeper that hides it."""

    def __init__(self, queue: Queue, count: int) -> None:
        self.facts: list[Fact] = []
        health = SourceHealth(mapping=M, source=QUEUE, clock=VirtualClock(), emit=lambda _: None)
        self.keeper = VisibilityKeeper(mapping=M, source=queue, health=health, emit=self.facts.append)
        self.keeper.timeout_in_seconds = self.keeper.queue_timeout_in_seconds = TIMEOUT
        randomness = random.Random(1)
        self.finisher = Finisher(mapping=M, source=queue, health=health, emit=self.facts.append, randomness=randomness)
        self.messages = [
            MessageInHand(
                Message(MessageId(str(number)), ReceiptHandle(str(number)), None, 0.0, {}),
                b"",
                Receive(0.0, 0.0, TIMEOUT, TIMEOUT),
            )
            for number in range(count)
        ]
        self.delivery = Delivery(new_request_id=lambda: RequestId("r"), randomness=randomness)
        self.delivery.put(self.messages, begins_batch=True)
        self.delivery.step()
        self.delivery.begin()
        self.keeper.take(self.delivery)

    async def finish(self) -> None:
        step = self.delivery.step()
        assert isinstance(step, Finish)
        await self.finisher.finish(step)


def beside_the_keeper(queue: Queue, count: int, then: Callable[[Hand], Awaitable[None]]) -> Hand:
    """Run `then` half a second after the keeper began to hide the messages again, until `then` returns."""
    hands: list[Hand] = []

    async def main() -> None:
        hands.append(Hand(queue, count))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hands[0].keeper.run)
            await anyio.sleep_until(HALF + 0.5)
            await then(hands[0])
            tasks.cancel_scope.cancel()

    run_seeded(1, main)
    return hands[0]


def test_a_failed_message_is_not_hidden_by_a_call_that_waited_in_line_when_it_failed() -> None:
    queue = Queue(slow=3.0)

    async def fails(hand: Hand) -> None:
        hand.delivery.answered(Failed("error"), now=0.0, may_run_until=MAY_RUN_UNTIL)
        await hand.finish()

    beside_the_keeper(queue, 105, fails)
    assert {name for name, timeout in queue.changes if timeout == TIMEOUT} == {str(number) for number in range(100)}
    assert "104" not in dict(queue.changes), "the queue shows it at the right time by itself"


def test_released_messages_are_not_hidden_by_a_call_that_waited_in_line() -> None:
    queue = Queue(slow=3.0)

    async def gives_back(hand: Hand) -> None:
        hand.delivery.give_back((), may_run_until=0.0)
        await anyio.sleep(10)

    beside_the_keeper(queue, 105, gives_back)
    assert "104" not in dict(queue.changes)


def test_a_failed_message_is_shown_after_the_last_of_two_calls_that_hide_it() -> None:
    queue = Queue(slow=3.0)

    async def hides_again_and_fails(hand: Hand) -> None:
        queue.slow = 0.0
        assert await hand.keeper.hide_for(hand.messages, 90.0)
        hand.delivery.answered(Failed("error"), now=0.0, may_run_until=MAY_RUN_UNTIL)
        await hand.finish()

    beside_the_keeper(queue, 1, hides_again_and_fails)
    assert [timeout for _, timeout in queue.changes[:2]] == [TIMEOUT, TIMEOUT]
    assert queue.changes[2][1] < TIMEOUT / 2, "the last change shows the message at the queue's own time"


def test_a_message_that_was_deleted_meanwhile_does_not_count_as_a_failure_to_hide_it() -> None:
    queue = Queue(slow=3.0)

    async def succeeds(hand: Hand) -> None:
        hand.delivery.answered(Succeeded(), now=0.0, may_run_until=MAY_RUN_UNTIL)
        await hand.finish()
        await anyio.sleep(10)

    hand = beside_the_keeper(queue, 105, succeeds)
    assert len(queue.changes) == 100, "ten calls were in flight, and one stood in line"
    assert not [fact for fact in hand.facts if isinstance(fact, VisibilityChangeFailed)]


DENIED = AccessDenied("no", code="AccessDenied")
THROTTLED = Throttled("slow down", code="RequestThrottled")


@pytest.mark.parametrize(
    ("errors", "is_enough"),
    [([DENIED, DENIED], True), ([DENIED, THROTTLED], False), ([THROTTLED, DENIED], False), ([DENIED], True)],
)
def test_only_messages_whose_own_call_was_denied_count_as_hidden_for_long_enough(
    errors: list[ServiceError], is_enough: bool
) -> None:
    async def main() -> None:
        queue = Queue(slow=0.0)
        hand = Hand(queue, 15)
        await anyio.sleep(TIMEOUT / 2)
        queue.errors = [*errors]
        assert await hand.keeper.hide_for(hand.messages, 90.0) == is_enough

    run_seeded(1, main)


def test_the_oldest_message_in_hand_has_its_age_since_it_was_sent() -> None:
    async def main() -> None:
        hand = Hand(Queue(slow=0.0), 2)
        for held, sent_at in zip(hand.messages, (50.0, 20.0), strict=True):
            held.message = held.message._replace(sent_at=sent_at)
        assert hand.keeper.oldest_age(100.0) == 80.0
        assert hand.keeper.oldest_age(10.0) == 0.0, "a clock that is behind makes no negative age"
        hand.keeper.drop(hand.delivery)
        assert hand.keeper.oldest_age(100.0) is None

    run_seeded(1, main)
