"""What is the status of the worker? It is computed at each request, from the leases in hand and what the table showed.

The worker reads its own row each second, and writes a new heartbeat into it as often as it renews its leases. So the
time since it last saw this row says whether the table answers reads, and the time since it last saw a new heartbeat
says whether the table accepts writes, and answers them in time.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import nsmallest
from operator import attrgetter

from poller.core.leases.expiry import Observed, is_drained
from poller.core.leases.parents import is_readable
from poller.engine.leases.hands import Hands
from poller.engine.leases.messages import is_stopping, worker_key
from poller.model.lease import Detail, Owner, Row
from poller.model.sharing import LEASES_SHOWN, SeenLease, SeenWorker, SharingStatus


def sharing_status(
    hands: Hands,
    observed: Observed,
    *,
    own: Mapping[str, Detail],
    begun_at: float,
    now: float,
) -> SharingStatus:
    """Return the status. `own` has what the worker tells the others about itself. The worker began at `begun_at`."""
    owner, own_key = observed.owner, worker_key(observed.owner)
    workers = {**observed.live_workers(), owner: Row(key=own_key, owner=owner, details=own)}
    units = sum(key.startswith(":") for key in hands.in_hand)
    unread = [
        now - (since if row is not None and row.owner == owner else max(since, observed.free_at(key)))
        for key, since in hands.wanted.items()
        if not key.startswith(":") and ((row := observed.get(key)) is None or is_readable(row, observed))
    ]
    return SharingStatus(
        owner=owner,
        shards=len(hands.in_hand) - units,
        units=units,
        workers=tuple(seen_worker(each, row) for each, row in sorted(workers.items())),
        table_silence_in_seconds=now - max(begun_at, observed.seen_at(own_key)),
        heartbeat_age_in_seconds=now - max(begun_at, observed.since(own_key)),
        unread_in_seconds=max([0.0, *unread]),
        leases=_seen_leases(observed, now),
    )


def seen_worker(owner: Owner, row: Row) -> SeenWorker:
    """Return what the worker tells about itself in its row."""
    leases, rate = row.details.get("leases"), row.details.get("bytes_per_second")
    return SeenWorker(
        owner=owner,
        leases=leases if isinstance(leases, int) else 0,
        bytes_per_second=float(rate) if isinstance(rate, int | float) else 0.0,
        is_stopping=is_stopping(row),
    )


def _seen_leases(observed: Observed, now: float) -> tuple[SeenLease, ...]:
    shards = (row for row in observed.leases() if not (row.key.startswith(":") or is_drained(row)))
    return tuple(
        SeenLease(row.key, row.owner, now - observed.owned_since(row.key))
        for row in nsmallest(LEASES_SHOWN, shards, key=attrgetter("key"))
    )
