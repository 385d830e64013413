"""Which rows has the table lost, and how does a worker create them again?

A table loses rows if somebody deletes them, or deletes the table and creates it again. The workers have seen the rows,
so they go on without a person's help:

    the row of a shard that a user waits for    a worker creates this row again
    the row `:begun/...` of a mapping           the whole table was lost: a worker that runs the mapping creates all
                                                rows of the mapping again, also those of drained shards, and this row
                                                last

Some rows are deleted on purpose. None of them is created again:

    a worker deletes the rows of drained shards
    a person moves positions (`poller state`) while the mapping is paused or does not run. The worker saw these rows
    only before the present run of the mapping. If the table has a row `:start/...`, the mapping should begin anew

The new row has the checkpoint that this worker saw last, and NOBODY as its owner. A worker that had the lease has lost
it as soon as it reads the row (R6), and at its deadline at the latest. As NOBODY never renews, every worker waits for
the lease duration before it takes the lease (R2). An old checkpoint costs repeated records, and no record is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from poller.core.leases.expiry import Observed, is_drained
from poller.core.leases.parents import by_generation
from poller.model.lease import BEGUN, START, Owner, Row, RowKey
from poller.model.sharing import mapping_of

COUNTER_STEP = 1_000_000
"""How much larger the new counter is than the one that this worker saw last: more than all writes since then.

So the token of each later owner is larger than all tokens before (R3).
"""

NOBODY = Owner(f"nobody/{'0' * 32}")
"""The owner of a row that was created again."""


def rows_to_create(
    observed: Observed, *, wanted: Collection[RowKey], run_since: Mapping[str, float]
) -> list[list[Row]]:
    """Return the lost rows to create again, in groups. The parents of a shard are in earlier groups (R9).

    Users wait for the leases in `wanted`. `run_since` says since when each mapping runs here, without paused mappings.
    """
    lost = _lost(observed, run_since)
    begun = [row for key, row in lost.items() if key.startswith(BEGUN)]
    anew = tuple(_shards_of(row.key) for row in begun if observed.get(_start_of(row.key)) is not None)
    begun = [row for row in begun if not _shards_of(row.key).startswith(anew)]
    whole = tuple(_shards_of(row.key) for row in begun)
    shards = [
        row
        for key, row in lost.items()
        if key.startswith(whole) or (key in wanted and not is_drained(row) and not key.startswith(anew))
    ]
    groups = [*by_generation(shards), begun]
    return [[_again(row) for row in group] for group in groups if group]


def still_lost(observed: Observed, *, run_since: Mapping[str, float]) -> list[RowKey]:
    """Return the keys of the lost rows that the worker must remember, because a user may want their leases later.

    A user that has lost a lease first ends its work, and then waits for the lease again. Call this after the rows of
    `rows_to_create` were created.
    """
    return [key for key, row in _lost(observed, run_since).items() if not is_drained(row)]


_NEVER = float("inf")


def _lost(observed: Observed, run_since: Mapping[str, float]) -> dict[RowKey, Row]:
    return {
        key: one.row for key, one in observed.lost.items() if one.seen_at >= run_since.get(_mapping_of(key), _NEVER)
    }


def _again(row: Row) -> Row:
    is_free = is_drained(row) or row.key.startswith(BEGUN)
    return replace(row, counter=row.counter + COUNTER_STEP, owner=None if is_free else NOBODY)


def _mapping_of(key: RowKey) -> str:
    return mapping_of(_shards_of(key) if key.startswith(BEGUN) else key)


def _shards_of(begun: RowKey) -> RowKey:
    """Return the beginning of the keys of the mapping's shards."""
    return RowKey(begun.removeprefix(BEGUN) + "/")


def _start_of(begun: RowKey) -> RowKey:
    return RowKey(START + begun.removeprefix(BEGUN))
