from __future__ import annotations

from dataclasses import replace

import pytest

from poller.core.leases.parents import by_generation, is_readable, parents_of
from poller.model.lease import Detail, Row, RowKey
from poller.model.stream import Checkpoint, ShardEnd, TrimHorizon
from tests.unit.core.leases.tables import observed_by, shard, unit

LEFT, RIGHT = shard(1, None), shard(2, None)
DRAINED = Checkpoint(ShardEnd())


def child_of(*parents: Row) -> Row:
    names: list[Detail] = [parent.key.rpartition("/")[2] for parent in parents]
    return replace(shard(3, None, checkpoint=Checkpoint(TrimHorizon())), details={"parents": names})


CHILD = child_of(LEFT, RIGHT)


def drained(row: Row) -> Row:
    return replace(row, checkpoint=DRAINED)


def reset(row: Row) -> Row:
    return replace(row, checkpoint=None)


@pytest.mark.parametrize(
    "rows",
    [
        [drained(LEFT), drained(RIGHT)],
        [drained(LEFT)],
        [],
        [reset(LEFT), drained(RIGHT)],
    ],
    ids=["both are drained", "one is drained and one has no row", "none has a row", "one was reset by a person"],
)
def test_a_child_is_readable_when_no_parent_has_records_left(rows: list[Row]) -> None:
    assert is_readable(CHILD, observed_by("a", rows))


@pytest.mark.parametrize(
    "rows",
    [[LEFT, RIGHT], [drained(LEFT), RIGHT], [LEFT, drained(RIGHT)], [RIGHT]],
    ids=["both are open", "the second is open", "the first is open", "one is open and one has no row"],
)
def test_a_child_waits_for_each_parent(rows: list[Row]) -> None:
    assert not is_readable(CHILD, observed_by("a", rows))


def test_a_shard_that_a_person_has_reset_is_readable_when_it_has_a_checkpoint() -> None:
    observed = observed_by("a", [])
    assert not is_readable(reset(LEFT), observed)
    assert is_readable(LEFT, observed)


def test_a_unit_has_no_checkpoint_and_is_readable() -> None:
    assert is_readable(unit("f", 1, None), observed_by("a", []))


def test_a_parent_belongs_to_the_same_mapping_and_stream() -> None:
    assert parents_of(CHILD) == [LEFT.key, RIGHT.key]
    assert is_readable(CHILD, observed_by("a", [shard(1, None, mapping="invoices")]))


@pytest.mark.parametrize("details", [{}, {"parents": None}, {"parents": "shard-00001"}])
def test_a_row_without_a_list_of_parents_has_no_parents(details: dict[str, Detail]) -> None:
    assert parents_of(Row(key=RowKey("orders/arn:stream/shard-1"), details=details)) == []


def test_parents_are_in_earlier_groups_than_their_children() -> None:
    parent, other = shard(1, None), shard(2, None)
    child = replace(shard(0, None), details={"parents": ["shard-00001", "shard-00002"]})
    grandchild = replace(shard(3, None), details={"parents": ["shard-00000", "shard-00009"]})
    assert [*by_generation([grandchild, child, parent, other])] == [[parent, other], [child], [grandchild]]
