"""Does a shard wait for a parent? A worker takes the lease of a child only when the child waits for no parent (R9).

    the row of the parent          the child
    is drained                     does not wait for this parent
    does not exist                 does not wait: the stream can never list this parent again
    has no checkpoint              does not wait: a person has reset the parent, and the stream lists it no more
    has any other checkpoint       waits

The last scan may have missed a row. So the worker first reads the rows of the parents that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from poller.core.leases.expiry import Observed, is_drained
from poller.core.leases.units import is_unit
from poller.model.lease import Row, RowKey


def is_readable(row: Row, observed: Observed) -> bool:
    """Return whether the shard waits for no parent, as far as this worker knows.

    A shard that a person has reset must get a checkpoint first: a worker that has not seen the pause yet may want
    its lease.
    """
    is_reset = row.checkpoint is None and not is_unit(row.key)
    return not is_reset and all(_is_done(parent, observed) for parent in parents_of(row))


def parents_of(row: Row) -> list[RowKey]:
    """Return the keys of the leases of the shard's parents."""
    prefix, parents = row.key.rpartition("/")[0], row.details.get("parents")
    return [RowKey(f"{prefix}/{each}") for each in parents] if isinstance(parents, list) else []


def by_generation(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows in groups. If a shard's parent is among these rows, the parent is in an earlier group."""
    left = {row.key: row for row in rows}
    while left:
        generation = [row for row in left.values() if left.keys().isdisjoint(parents_of(row))] or list(left.values())
        yield generation
        for row in generation:
            del left[row.key]


def _is_done(parent: RowKey, observed: Observed) -> bool:
    """Return whether no child waits for this parent.

    A parent without a checkpoint was reset by a person. The stream lists it no more, because the parents that it
    lists get their checkpoints before their children.
    """
    row = observed.get(parent)
    return row is None or row.checkpoint is None or is_drained(row)
