"""Which rows has the table lost, and how does a worker create them again?

A table loses rows if a person deletes them, or deletes the table and creates it again. The workers have seen the rows,
so they go on without a person's help:

    the row of a shard that a user waits for    a worker creates this row again
    the row `:begun/...` of a mapping           the whole table was lost: a worker that runs the mapping creates all
                                                rows of the mapping again, also those of drained shards, and this row
                                                last

No worker deletes these rows while a mapping runs, except the rows of drained shards.

The new row has the owner, the token and the checkpoint that this worker saw last. So if the owner lives, it goes on (if
the checkpoint is the last one that it stored), or loses the lease (R6). If the owner has died, other workers wait for
the lease duration (R2). An old checkpoint costs repeated records, and no record is lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

from poller.core.leases.expiry import is_drained
from poller.core.leases.parents import parents_of
from poller.model.lease import BEGUN, Row, RowKey
from poller.model.sharing import mapping_of

COUNTER_STEP = 1_000_000
"""How much larger the new counter is than the one that this worker saw last: more than all writes since then.

So the token of each later owner is larger than all tokens before (R3).
"""


def rows_to_create(lost: Mapping[RowKey, Row], *, wanted: Collection[RowKey], runs: Collection[str]) -> list[list[Row]]:
    """Return the rows to create again, in groups. The parents of a shard are in earlier groups (R9).

    `lost` has the rows that the table has no more. Users wait for the leases in `wanted`. `runs` has the names of the
    mappings that run here.
    """
    begun = [row for key, row in lost.items() if key.startswith(BEGUN) and mapping_of(_shards_of(key)) in runs]
    prefixes = tuple(_shards_of(row.key) for row in begun)
    shards = [row for key, row in lost.items() if key.startswith(prefixes) or (key in wanted and not is_drained(row))]
    groups = [*_by_generation(shards), begun]
    return [[replace(row, counter=row.counter + COUNTER_STEP) for row in group] for group in groups if group]


def _shards_of(begun: RowKey) -> RowKey:
    """Return the beginning of the keys of the mapping's shards."""
    return RowKey(begun.removeprefix(BEGUN) + "/")


def _by_generation(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = {row.key: row for row in rows}
    while left:
        generation = [row for row in left.values() if left.keys().isdisjoint(parents_of(row))] or list(left.values())
        yield generation
        for row in generation:
            del left[row.key]
