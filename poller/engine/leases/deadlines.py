"""When does a worker lose the leases that it could not renew? At their deadlines (`core/leases/`, R4).

If the host slept or the process was stopped, this task wakes up late. So each user also asks `Lease.may_begin`,
which compares the clock with the deadline.
"""

from __future__ import annotations

from poller.engine.leases.hands import Hands, named
from poller.facts import Emit, LeasesLost
from poller.ports import MonotonicClock

LOOK_AGAIN_IN_SECONDS = 1.0
"""The longest sleep of this task. If a lease is taken during the sleep, its deadline may be the nearest of all.

A deadline counts from the sending of the take. But the answer comes so early (`table.py`) that the deadline is later
than the end of this sleep.
"""


async def end_at_deadlines(hands: Hands, clock: MonotonicClock, emit: Emit) -> None:
    """Lose each lease at its deadline, until cancelled."""
    while True:
        now = clock.now()
        ended = [one for one in hands.in_hand.values() if one.held.end(now) is not None]
        for one in ended:
            hands.lose(one)
        if ended:
            emit(LeasesLost(len(ended), named(ended)))
        deadlines = [one.held.deadline for one in hands.in_hand.values() if one.held.deadline is not None]
        await clock.sleep_until(min([*deadlines, now + LOOK_AGAIN_IN_SECONDS]))
