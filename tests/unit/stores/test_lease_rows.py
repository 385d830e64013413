from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings

from poller.model.lease import Row, RowKey
from poller.stores import schema
from poller.stores.lease_rows import batch, check, create, delete, read, scan, update
from tests.contracts.test_lease_store import STREAM, some_rows


@pytest.fixture
def file() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as file:
        schema.create(file)
        yield file


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=some_rows)
def test_every_row_is_read_as_it_was_written(file: sqlite3.Connection, rows: list[Row]) -> None:
    file.execute("DELETE FROM lease")
    rows = [replace(row, key=RowKey(f"clicks/{STREAM}/{row.key}.")) for row in rows]
    assert create(file, batch(rows)) == frozenset()
    assert {row.key: row for row in scan(file)} == {row.key: row for row in rows}
    check(file)
    renewed = [replace(row, counter=2) for row in rows]
    assert update(file, batch(renewed)) == frozenset()
    assert read(file, [row.key for row in rows]) == {row.key: row for row in renewed}
    assert delete(file, batch(renewed)) == frozenset()
    assert scan(file) == []
