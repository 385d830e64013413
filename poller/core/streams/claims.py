"""May a writer store a shard? Compare and set, by the version that the writer has read.

    stored version      stored by       may a writer with version 3 store?
    none                                no: the row that it has read is gone; only version 1 makes a row
    2                   anybody         yes: nobody has stored the shard since the writer read it
    3                   itself          yes, as often as it likes: a save whose answer was lost is repeated
    3                   another         no: both have read version 2, and the other was first
    4 or more           anybody         no: another writer came later

A writer that may not store a shard has lost it, for good.
"""

from __future__ import annotations

from poller.model.stream import WriterId


def may_store(stored: tuple[int, WriterId] | None, *, version: int, writer: WriterId) -> bool:
    """`stored` is the version and the writer of the row, None if there is no row."""
    if stored is None:
        return version == 1
    stored_version, stored_by = stored
    return stored_version == version - 1 or (stored_version == version and stored_by == writer)
