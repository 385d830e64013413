"""Does the split show what it promises: children that wait for their parent and have clicks of their own?"""

from __future__ import annotations

import hashlib

from poller.demo.clicks.story import CLICKS_OF_EACH, POISON, USERS
from poller.demo.resharding.part import BEFORE_THE_MERGE, BEFORE_THE_SPLIT, SHARDS_AT_FIRST


def place(user: str) -> float:
    """Return where Kinesis puts a key among all hash keys, from 0 to 1."""
    return int(hashlib.md5(user.encode()).hexdigest(), 16) / 2**128


def test_the_poison_record_is_in_the_shard_that_is_split_and_a_click_follows_it() -> None:
    assert place(POISON.user) < 1 / SHARDS_AT_FIRST
    assert POISON.number < BEFORE_THE_SPLIT < BEFORE_THE_MERGE < CLICKS_OF_EACH


def test_every_shard_and_every_half_of_a_shard_has_users() -> None:
    quarters = {int(place(user) * 2 * SHARDS_AT_FIRST) for user in USERS}
    assert quarters == set(range(2 * SHARDS_AT_FIRST))
