"""When may a lease leave the worker's hands, and which user of this process gets it?"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.core.leases.holding import Held
from poller.engine.leases.hands import KEPT_IN_SECONDS, Hands, InHand, Waiter
from poller.model.lease import Owner, Row, RowKey
from tests.fakes.clock import SteadyClock

pytestmark = pytest.mark.anyio

KEY = RowKey("clicks/arn:aws:kinesis:eu-west-1:123456789012:stream/clicks/shardId-000000000000")


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def kept(hands: Hands) -> InHand:
    """Let a user have the lease and leave it during a reload, and return the lease, which the worker keeps."""
    hands.open_runs["clicks"] = 2
    user = hands.wait_for(KEY)
    held = Held(Row(key=KEY), Owner("me"))
    held.take(anyio.current_time())
    held.accepted(anyio.current_time())
    hands.took(held)
    assert user.lease is not None
    hands.leave(user)
    return hands.in_hand[KEY]


async def test_a_lease_that_the_old_run_has_left_is_kept_for_a_second() -> None:
    hands = Hands(SteadyClock())
    one, left_at = kept(hands), anyio.current_time()
    assert not hands.may_go(one, left_at + 0.9 * KEPT_IN_SECONDS)
    assert hands.may_go(one, left_at + KEPT_IN_SECONDS)
    user = hands.wait_for(KEY)
    assert user.lease is not None
    hands.open_runs["clicks"] = 1
    hands.leave(user)
    assert hands.may_go(one, anyio.current_time()), "no other run is open"


async def test_a_lease_that_is_kept_goes_at_once_if_another_worker_wants_it() -> None:
    hands = Hands(SteadyClock())
    one = kept(hands)
    hands.is_urgent = anyio.Event()
    hands.want_back(KEY, promised_to=Owner("other"))
    assert hands.is_urgent.is_set()
    assert hands.may_go(one, anyio.current_time())
    assert hands.wait_for(KEY).lease is None
    assert hands.may_go(one, anyio.current_time())


async def test_a_lease_that_is_kept_goes_at_a_stop_once_the_other_workers_are_known() -> None:
    hands = Hands(SteadyClock())
    one = kept(hands)
    hands.begin_stop()
    assert not hands.may_go(one, anyio.current_time())
    hands.is_urgent = anyio.Event()
    hands.give_away()
    assert hands.is_urgent.is_set()
    assert hands.may_go(one, anyio.current_time())


class Left:
    """What a user leaves to a user that has two lanes, too."""

    lane_count = 2


def shared(hands: Hands) -> tuple[Waiter, Waiter]:
    """Let a user have the lease, and the next user, while invocations of the first one still run."""
    hands.open_runs["clicks"] = 2
    old, new = hands.wait_for(KEY, lanes=2), hands.wait_for(KEY, lanes=2)
    held = Held(Row(key=KEY), Owner("me"))
    held.take(anyio.current_time())
    held.accepted(anyio.current_time())
    hands.took(held)
    assert old.lease is not None
    assert new.lease is None
    old.lease.leave_behind(Left())
    return old, new


async def test_the_next_user_with_the_same_lanes_shares_the_lease_with_invocations_that_still_run() -> None:
    hands = Hands(SteadyClock())
    old, new = shared(hands)
    assert old.lease is not None
    assert new.lease is not None
    assert isinstance(new.lease.found, Left)
    assert new.lease.blocks is old.lease.blocks
    assert old.lease.is_passed_on
    assert not new.lease.is_passed_on
    old.lease.leave_behind(Left())
    assert hands.wait_for(KEY, lanes=2).lease is None, "the new user has not left"


async def test_a_user_that_comes_after_what_is_left_gets_the_lease_at_once() -> None:
    hands = Hands(SteadyClock())
    old, new = shared(hands)
    assert new.lease is not None
    new.lease.leave_behind(Left())
    third = hands.wait_for(KEY, lanes=2)
    assert third.lease is not None
    assert isinstance(third.lease.found, Left)
    assert hands.in_hand[KEY].users == [old.lease, new.lease, third.lease]


@pytest.mark.parametrize("first_to_leave", [0, 1])
async def test_a_shared_lease_is_given_away_only_after_all_users_have_left(first_to_leave: int) -> None:
    hands = Hands(SteadyClock())
    users = shared(hands)
    one = hands.in_hand[KEY]
    hands.want_back(KEY, promised_to=Owner("other"))
    assert users[1].lease is not None
    assert users[1].lease.is_wanted_back.is_set()
    users[1].lease.leave_behind(Left())
    assert hands.wait_for(KEY, lanes=2).lease is None, "another worker wants it"
    hands.begin_stop()
    hands.give_away()
    hands.leave(users[first_to_leave])
    assert not hands.may_go(one, anyio.current_time())
    hands.leave(users[1 - first_to_leave])
    assert hands.may_go(one, anyio.current_time())


async def test_a_user_with_other_lanes_or_after_a_user_that_leaves_nothing_waits_for_the_invocations() -> None:
    hands = Hands(SteadyClock())
    old, new = shared(hands)
    assert new.lease is not None
    hands.leave(new)
    third = hands.wait_for(KEY, lanes=2)
    assert third.lease is None, "the user before has left nothing"
    hands.leave(old)
    assert third.lease is not None
    assert third.lease.found is None
    third.lease.leave_behind(Left())
    fourth = hands.wait_for(KEY, lanes=3)
    assert fourth.lease is None
    hands.leave(third)
    assert fourth.lease is not None
    assert fourth.lease.found is None


async def test_a_shared_lease_that_is_lost_is_lost_for_all_users() -> None:
    hands = Hands(SteadyClock())
    users = shared(hands)
    hands.lose(hands.in_hand[KEY])
    for user in users:
        assert user.lease is not None
        assert user.lease.is_lost
        hands.leave(user)
    assert not hands.in_hand
