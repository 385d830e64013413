"""May a person look at the messages of a queue without harm to their delivery?

SQS has no way to read a message without a receive, and each receive raises the message's receive count.

    FIFO queue        no: while a message is in flight, the later messages of its group wait
    redrive policy    no: a message that was received `maxReceiveCount` times moves to the dead-letter queue at its next
                      receive, so one look could take away the last try of the function
    any other queue   yes: nothing but the count changes

Sources: Amazon SQS Developer Guide, "Amazon SQS dead-letter queues" and "FIFO queue delivery logic".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PEEK_TIMEOUT_IN_SECONDS = 30
"""How long a message is hidden if the look ends without making it visible again. We chose this number."""


def why_no_peek(attributes: Mapping[str, Any], *, is_fifo: bool) -> str | None:
    """Return why nobody may look at the messages, or None. `attributes` are those of GetQueueAttributes."""
    if is_fifo:
        return "the queue is a FIFO queue: while a message is looked at, the later messages of its group wait"
    if attributes.get("RedrivePolicy"):
        return (
            "the queue has a redrive policy: each look counts as a receive, so a message that has failed before could "
            "move to the dead-letter queue without its last try"
        )
    return None
