"""How much work waits for the workers? An autoscaler decides by these numbers how many workers run."""

from __future__ import annotations

from typing import NamedTuple


class Backlog(NamedTuple):
    """The work that waits in the sources of one mapping, or of several.

    `seconds_to_catch_up` is how long this daemon needs for the records that wait in the shards that it reads.
    `shards` is the number of these shards.
    `messages_waiting` is the number of messages that nobody has received. Every worker counts the same messages.
    `events_waiting` is the number of asynchronous events that no worker has taken, also of those that wait for a retry.
    Workers that share an event queue count the same events.
    """

    seconds_to_catch_up: float = 0.0
    shards: int = 0
    messages_waiting: int = 0
    events_waiting: int = 0


class QueueDepth(NamedTuple):
    """How many messages a queue has, as SQS counts them. These counts lag by up to a minute.

    Anybody can receive the `visible` messages now. The messages `in_flight` are hidden, because a receiver has them.
    The `delayed` messages become visible when the delay of their queue or their sender is over.
    """

    visible: int
    in_flight: int
    delayed: int


class UnknownBacklog(NamedTuple):
    """Nobody can say now how much work waits, or how many messages a queue has. `reason` is for a person."""

    reason: str
