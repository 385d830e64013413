"""When does the daemon collect garbage? When runs of mappings have ended, because an ended run is garbage with cycles.

A run that ends cancels its tasks. A cancelled task of anyio, its coroutine and its exception refer to one another, so
reference counting does not free them. Only a collection does. Without one, each change would make the process larger.
A collection follows each reload. After a pause, a resume or a crash, it follows within half a minute (`running.py`).

While a collection searches for garbage, nothing else runs. It searches all objects that are not frozen:

    the daemon is ready                 all objects are frozen: modules, settings, and the runs of the file's mappings
    runs have begun or ended            a collection searches the runs that have begun since then: 0.4 ms for each run
    many frozen runs were replaced      a collection of all objects, which takes half a second with 1,000 mappings;
                                        then all objects are frozen again

If a frozen run ends, its garbage stays until the next collection of all objects. A mapping has at most one frozen run,
so at most one run of each mapping stays as garbage.
"""

from __future__ import annotations

import gc
from collections.abc import Collection

from poller.model.ids import MappingName

THRESHOLDS = (400_000, 20, 20)
"""With these thresholds, the garbage collector runs by itself less often than by default.

A start makes many objects, and there are many records in hand. They form no cycles, so a collection finds nothing.
"""

MOST_YOUNG = 100
"""How many runs a collection after a change may search, so that it takes at most 40 ms. We measured and chose it."""


class Garbage:
    """Collects the garbage of changed mappings. `young` are the mappings whose runs are not frozen."""

    def __init__(self) -> None:
        self._young: set[MappingName] = set()

    def freeze(self) -> None:
        """Let later collections skip all objects that exist now."""
        gc.freeze()
        self._young.clear()

    def collect(self, *, changed: Collection[MappingName], existing: Collection[MappingName]) -> None:
        """Collect the garbage of `changed`, the mappings of which a run has begun or ended.

        `existing` are all mappings after the change.
        """
        self._young = {name for name in existing if name in self._young or name in changed}
        is_much = len(self._young) > MOST_YOUNG
        if is_much:
            gc.unfreeze()
        gc.collect()
        if is_much:
            self.freeze()
