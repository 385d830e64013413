"""Under which names has the state positions of a stream, and how does a mapping with a new name continue at them?

Positions belong to the name of a mapping, so a renamed mapping begins at its starting_position.
Once it has begun, its new name has positions, too. Then `poller state rename` refuses that name until it is free.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from poller.model.ids import MappingName
from poller.model.lease import Row


def former_names(leases: Iterable[Row], stream_arn: str, *, names: Collection[MappingName]) -> list[MappingName]:
    """Return the names under which the stream has positions, without `names`, which are in use."""
    stream = f"/{stream_arn}/"
    of_stream = (row for row in leases if stream in row.key and row.checkpoint is not None)
    found = {MappingName(row.key.partition("/")[0]) for row in of_stream}
    return sorted(found.difference(names))


def way_back(former: MappingName, now: MappingName, *, state: str) -> str:
    """Return what a person does so that the mapping `now` continues at the positions of `former`.

    `state` is `daemon.state`. The positions in `memory:` cannot be renamed.
    """
    by_name = f"name the mapping {former} again, and reload"
    if state == "memory:":
        return by_name
    return (
        f"{by_name}; or stop all daemons, free the new name with `poller state rename {now} OTHER`, and use "
        f"`poller state rename {former} {now}`"
    )
