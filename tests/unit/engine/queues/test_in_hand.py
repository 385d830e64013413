"""What is in hand?"""

from __future__ import annotations

import pytest

from poller.core.queues.visibility import LONGEST_IN_SECONDS
from poller.engine.queues.in_hand import BatchInHand, MessageInHand, Phase, Receive
from poller.model.ids import MessageGroupId, MessageId, ReceiptHandle
from poller.model.message import Message


def held(name: str, group: str | None) -> MessageInHand:
    group_id = None if group is None else MessageGroupId(group)
    message = Message(MessageId(name), ReceiptHandle(name), group_id, 0.0, {})
    return MessageInHand(message, b"", Receive(0.0, 0.0, LONGEST_IN_SECONDS, 30))


@pytest.mark.parametrize(
    ("phase", "names"),
    [
        ("gathering", ["good", "unwanted", "failed"]),
        ("waiting", ["good", "unwanted", "failed"]),
        ("running", ["good", "unwanted", "failed"]),
        ("done", ["good", "unwanted"]),
    ],
)
def test_failed_messages_of_a_group_stay_hidden_until_the_messages_that_follow_them_are_done(
    phase: Phase, names: list[str]
) -> None:
    batch = BatchInHand()
    batch.messages, batch.filtered_out = [held("good", "a")], [held("unwanted", "a")]
    batch.undone = [held("failed", "a"), held("failed, of a standard queue", None)]
    batch.phase = phase
    assert [each.message.message_id for each in batch.everything()] == names
