"""Which of ten thousand shards does a status show? The blocked ones come first, then those that are most behind."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nsmallest

from poller.model.status import ShardStatus

SHARDS_SHOWN = 50
"""How many shards of a mapping its status shows. Every worker reports them to its parent each second."""


def rank(blocked_since: float | None, age_in_seconds: float) -> tuple[bool, float]:
    """Return a sort key: the shards that have been blocked longest come first, then those with the oldest records."""
    return (True, -age_in_seconds) if blocked_since is None else (False, blocked_since)


def first_shown(shards: Iterable[ShardStatus]) -> tuple[ShardStatus, ...]:
    """Return the first SHARDS_SHOWN of these shards, in the order of their rank."""
    return tuple(nsmallest(SHARDS_SHOWN, shards, key=lambda shard: rank(shard.blocked_since, shard.age_in_seconds)))
