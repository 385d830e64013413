"""When is a failed message received again, if its mapping has a `redelivery_backoff`?"""

from __future__ import annotations

import random

import pytest

from poller.core.backoff import Backoff
from poller.core.queues.in_hand import MessageInHand, Receive
from poller.core.queues.redelivery import delay_return
from poller.model.ids import MessageGroupId, MessageId, ReceiptHandle
from poller.model.message import Message

BACKOFF = Backoff(initial=5.0, maximum=60.0)
NOW = 1000.0


def held(count: object, group: str | None = None) -> MessageInHand:
    """Return a message that SQS says it has delivered this many times."""
    record = {"attributes": {"ApproximateReceiveCount": count}} if count is not None else {}
    its_group = None if group is None else MessageGroupId(group)
    message = Message(MessageId("m"), ReceiptHandle("r"), its_group, 0.0, record)
    return MessageInHand(message, b"", Receive(NOW - 1, NOW - 1, 30, 30))


def delays(*messages: MessageInHand, seed: int = 1) -> list[float]:
    delay_return(messages, BACKOFF, now=NOW, randomness=random.Random(seed))
    assert not any(message.returns_by_itself for message in messages)
    return [message.returns_at - NOW for message in messages]


@pytest.mark.parametrize(("count", "full"), [("1", 5), ("2", 10), ("3", 20), ("4", 40), ("5", 60), ("999", 60)])
def test_the_delay_doubles_with_each_receive_up_to_the_maximum(count: str, full: float) -> None:
    found = [delays(held(count), seed=seed)[0] for seed in range(200)]
    assert full / 2 <= min(found) < full * 0.52
    assert full * 0.98 < max(found) <= full


@pytest.mark.parametrize("count", [None, "", "0", "-1", "many", "²", "9" * 10_000])
def test_a_message_without_a_usable_receive_count_counts_as_received_once(count: str | None) -> None:
    assert delays(held(count)) == delays(held("1"))


def test_messages_of_a_batch_with_the_same_receive_count_return_together() -> None:
    first, second, third = delays(held("2"), held("1"), held("2"))
    assert first == third == pytest.approx(2 * second)


def test_messages_of_a_group_return_together_with_its_first_message() -> None:
    first, other, second, third = delays(held("3", "a"), held("1", "b"), held("1", "a"), held("9", "a"))
    assert first == second == third == pytest.approx(4 * other)
