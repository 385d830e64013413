"""Do the clicks tell the story that the demo promises?"""

from __future__ import annotations

import hashlib
import json

import pytest

from poller.core.streams.lanes import lane_of
from poller.demo.clicks.story import CLICKS_OF_EACH, LANES, POISON, SHARDS, USERS, Click, rounds


def test_a_call_has_one_click_of_each_user_and_calls_count_up() -> None:
    assert all([click.user for click in clicks] == list(USERS) for clicks in rounds())
    assert [{click.number for click in clicks} for clicks in rounds()] == [{n} for n in range(1, CLICKS_OF_EACH + 1)]


def test_only_the_poison_record_is_not_json() -> None:
    clicks = [click for clicks in rounds() for click in clicks]
    assert clicks.count(POISON) == 1
    for click in clicks:
        if click == POISON:
            with pytest.raises(ValueError, match="Unterminated"):
                json.loads(click.data)
        else:
            assert Click(json.loads(click.data)["user"], json.loads(click.data)["number"]) == click


def test_there_is_a_user_in_every_lane_of_every_shard() -> None:
    """Kinesis finds the shard by the MD5 of the partition key."""
    shards = {user: int(hashlib.md5(user.encode()).hexdigest(), 16) * SHARDS >> 128 for user in USERS}
    lanes = {(shards[user], lane_of(user, LANES)) for user in USERS}
    assert lanes == {(shard, lane) for shard in range(SHARDS) for lane in range(LANES)}
