"""When may a lease leave the worker's hands, and which user of this process gets it?"""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.core.leases.holding import Held
from poller.engine.leases.hands import KEPT_IN_SECONDS, Hands, InHand
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
