"""May a writer store a checkpoint of a shard?

Several workers may share a store, so a save is a compare-and-set on the shard's version.
A writer that has read version 2 saves with version 3. The table shows when the store accepts its save:

    stored version      stored by       is a save with version 3 accepted?
    no row                              no: the row that the writer has read was removed; only version 1 adds a row
    2                   any writer      yes: nobody has stored the shard since the writer read it
    3                   this writer     yes, any number of times: a save may be repeated after a lost answer
    3                   another one     no: both writers have read version 2, and the other one was first
    4 or more           any writer      no: another writer came later

A writer whose save is not accepted has lost the shard for good.
"""

from __future__ import annotations

from poller.model.stream import WriterId


def may_store(stored: tuple[int, WriterId] | None, *, version: int, writer: WriterId) -> bool:
    """Return whether the store accepts the save. `stored` is the row's version and writer, None if there is no row."""
    if stored is None:
        return version == 1
    stored_version, stored_by = stored
    return stored_version == version - 1 or (stored_version == version and stored_by == writer)
