"""How do workers share a table of leases, as one worker sees it? It knows itself, the other workers, and the leases.

This worker measures all times itself: each one says for how long this worker has seen the table in that state.
"""

from __future__ import annotations

from typing import NamedTuple

from poller.model.lease import Owner, RowKey

LEASES_SHOWN = 100
"""How many leases of shards a status lists at most. `poller state show` lists all."""


def label_of(owner: Owner) -> str:
    """Return the worker's name for a person: its label, and the beginning of its random number.

    The name of a worker of KCL stays as it is.
    """
    label, slash, number = owner.rpartition("/")
    return f"{label}/{number[:4]}" if slash else owner


def mapping_of(key: RowKey) -> str:
    """Return the name of the mapping to which a shard's lease belongs."""
    return key.partition("/")[0]


class SeenWorker(NamedTuple):
    """A live worker, as its row in the table describes it. `leases` is the number of leases that it holds."""

    owner: Owner
    leases: int
    bytes_per_second: float
    is_stopping: bool


class SeenLease(NamedTuple):
    """The lease of a shard. `owner` is None if no worker has it. `seconds` is how long the owner has had it."""

    key: RowKey
    owner: Owner | None
    seconds: float


class SharingStatus(NamedTuple):
    """The status of one worker. `shards` and `units` count the leases that it holds, by their kind.

    `workers` are all live workers, including this one.
    `leases` are the first LEASES_SHOWN leases of all shards that are not drained.
    `table_silence_in_seconds` is the time since the table last answered this worker.
    `heartbeat_age_in_seconds` is the time since the table last confirmed this worker's sign of life.
    `unread_in_seconds` is for the shards that mappings of this worker wait for, and whose parents are drained. It is
    the longest time for which such a shard has had no reader.
    """

    owner: Owner
    shards: int
    units: int
    workers: tuple[SeenWorker, ...]
    table_silence_in_seconds: float
    heartbeat_age_in_seconds: float
    unread_in_seconds: float
    leases: tuple[SeenLease, ...] = ()
