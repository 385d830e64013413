"""Under which names has the state positions of a stream, and how does a mapping with a new name continue at them?

Positions belong to the name of a mapping, so a renamed mapping begins at its starting_position.
Once it has begun, its new name has positions, too. Then `poller state rename` refuses that name until it is free.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from poller.model.ids import MappingName
from poller.model.lease import Row


def former_names(shards: Iterable[Row], *, names: Collection[MappingName]) -> list[MappingName]:
    """Return the names under which the shards of a stream have positions, without `names`, which are in use."""
    found = {MappingName(row.key.partition("/")[0]) for row in shards if row.checkpoint is not None}
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
