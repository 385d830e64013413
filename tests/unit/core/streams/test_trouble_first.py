"""Which shards does a status show first?"""

from __future__ import annotations

from random import Random

from poller.core.streams.trouble_first import SHARDS_SHOWN, first_shown
from poller.model.lease import Owner
from poller.model.status import ShardStatus
from poller.model.stream import ShardId


def shard(name: str, *, age: float = 0.0, blocked_since: float | None = None) -> ShardStatus:
    return ShardStatus(ShardId(name), Owner("w/1"), None, "TRIM_HORIZON", age, blocked_since=blocked_since)


def test_the_longest_blocked_shards_come_first_and_then_those_that_are_most_behind() -> None:
    shards = [
        shard("is done"),
        shard("is behind", age=20.0),
        shard("was blocked later", blocked_since=50.0, age=99.0),
        shard("is far behind", age=300.0),
        shard("was blocked first", blocked_since=40.0, age=1.0),
    ]
    assert [one.shard_id for one in first_shown(shards)] == [
        "was blocked first",
        "was blocked later",
        "is far behind",
        "is behind",
        "is done",
    ]


def test_a_status_shows_few_of_many_shards() -> None:
    ages = [float(age) for age in range(10_000)]
    Random(1).shuffle(ages)
    shown = [one.age_in_seconds for one in first_shown(shard(str(age), age=age) for age in ages)]
    assert shown == [9999.0 - place for place in range(SHARDS_SHOWN)]
