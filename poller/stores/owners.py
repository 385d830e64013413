"""Does the owner of a lease live? A person waits for a sign of life, as long as a worker does before it takes a lease.

A worker writes a new heartbeat into its own row, and new counters into its leases, several times in a lease duration.
No clock of another host is compared (`core/leases/`, R2).
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import anyio

from poller.core.leases.expiry import LEASE_DURATION_IN_SECONDS, is_worker, sign_of_life
from poller.model.lease import Row
from poller.model.sharing import label_of
from poller.ports import LeaseStore

LOOK_EVERY_SECONDS = 1.0


def label(row: Row) -> str:
    """Return how a person names the row's owner. Two daemons of one host may have the same `worker`."""
    assert row.owner is not None, f"{row.key} has no owner"
    return label_of(row.owner)


async def living_owner(
    owned: Collection[Row], rows: Collection[Row], *, store: LeaseStore, tell: Callable[[str], None]
) -> Row | None:
    """Return the first of these rows whose owner gives a sign of life.

    Return None if no owner does in a lease duration.

    `owned` are leases and rows of workers, and `rows` are all rows of the same scan.
    """
    owners = {row.owner for row in owned}
    workers = {row.key: row for row in rows if is_worker(row) and row.owner in owners}
    labels = ", ".join(sorted({label(row) for row in owned}))
    tell(f"Waiting for up to {LEASE_DURATION_IN_SECONDS:g} s to see whether these workers run: {labels}")
    with anyio.move_on_after(LEASE_DURATION_IN_SECONDS):
        while True:
            await anyio.sleep(LOOK_EVERY_SECONDS)
            for key, row in (await store.read(workers)).items():
                if sign_of_life(row) != sign_of_life(workers[key]):
                    return row
    now = await store.read([row.key for row in owned])
    found = ((row, now.get(row.key)) for row in owned)
    return next((new for row, new in found if new and new.owner and sign_of_life(new) != sign_of_life(row)), None)
