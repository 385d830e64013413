"""Which mappings are paused? Each paused mapping has one row in the table `pause` (`schema.py`)."""

from __future__ import annotations

import sqlite3

from poller.model.ids import MappingName


def paused(file: sqlite3.Connection) -> frozenset[MappingName]:
    return frozenset(MappingName(mapping) for (mapping,) in file.execute("SELECT mapping FROM pause"))


def pause(file: sqlite3.Connection, mapping: MappingName) -> None:
    file.execute("INSERT OR IGNORE INTO pause (mapping) VALUES (?)", (mapping,))


def resume(file: sqlite3.Connection, mapping: MappingName) -> None:
    file.execute("DELETE FROM pause WHERE mapping = ?", (mapping,))
