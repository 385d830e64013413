"""Which rows does a worker create again after the table has lost them?"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from poller.core.leases.lost_rows import COUNTER_STEP, NOBODY, rows_to_create, still_lost
from poller.model.lease import Row, RowKey
from poller.model.stream import Checkpoint, ShardEnd
from tests.unit.core.leases.tables import observed_by, shard, unit, worker

BEGUN = Row(key=RowKey(":begun/orders/arn:stream"))
DRAINED = shard(0, None, checkpoint=Checkpoint(ShardEnd()))
FIRST, SECOND = shard(1, "a"), shard(2, "b")
CHILD = replace(shard(3, None), details={"parents": ["shard-00001", "shard-00002"]})


def groups_of(
    *lost: Row, wanted: Collection[RowKey] = (), runs: Collection[str] = ("orders",), kept: Collection[Row] = ()
) -> list[list[Row]]:
    """Return what a worker creates that has seen the rows at 100, and misses those in `lost` now."""
    observed = observed_by("me", [*lost, *kept], now=100.0)
    observed.scanned(kept, now=110.0)
    return rows_to_create(observed, wanted=wanted, run_since=dict.fromkeys(runs, 50.0))


def created(
    *lost: Row, wanted: Collection[RowKey] = (), runs: Collection[str] = ("orders",), kept: Collection[Row] = ()
) -> list[list[RowKey]]:
    return [[row.key for row in group] for group in groups_of(*lost, wanted=wanted, runs=runs, kept=kept)]


def test_only_a_shard_that_a_user_waits_for_is_created_again() -> None:
    assert created(FIRST, SECOND, wanted=[FIRST.key]) == [[FIRST.key]]
    assert created(FIRST, SECOND) == []


def test_a_drained_shard_is_not_created_again_because_a_worker_may_have_deleted_its_row() -> None:
    assert created(DRAINED, wanted=[DRAINED.key]) == []


def test_the_rows_of_workers_and_units_are_not_created_again_with_those_of_a_mapping() -> None:
    assert created(worker("a"), unit("f", 1, "a"), BEGUN) == [[BEGUN.key]]


def test_all_rows_of_a_mapping_are_created_again_after_the_whole_table_was_lost() -> None:
    """The row that says that the mapping has begun comes last, and parents come before their children."""
    assert created(BEGUN, CHILD, SECOND, FIRST, DRAINED) == [
        [SECOND.key, FIRST.key, DRAINED.key],
        [CHILD.key],
        [BEGUN.key],
    ]


def test_the_rows_of_a_mapping_that_does_not_run_here_stay_lost() -> None:
    other = shard(1, "a", mapping="others")
    assert created(BEGUN, FIRST, runs=["others"]) == []
    assert created(BEGUN, FIRST, other) == [[FIRST.key], [BEGUN.key]]
    assert created(replace(BEGUN, key=RowKey(":begun/order/arn:stream")), FIRST, runs=["order"]) == [
        [RowKey(":begun/order/arn:stream")]
    ]


def test_a_row_that_was_last_seen_before_the_mapping_ran_may_have_been_deleted_by_a_person() -> None:
    observed = observed_by("me", [BEGUN, FIRST], now=100.0)
    observed.scanned([], now=110.0)
    assert rows_to_create(observed, wanted=[FIRST.key], run_since={"orders": 100.1}) == []
    assert rows_to_create(observed, wanted=[FIRST.key], run_since={"orders": 100.0}) != []


def test_a_lost_row_is_kept_until_a_user_wants_it_unless_its_shard_is_drained() -> None:
    observed = observed_by("me", [BEGUN, FIRST, DRAINED, unit("f", 1, "a")], now=100.0)
    observed.scanned([BEGUN], now=110.0)
    assert still_lost(observed, run_since={"orders": 50.0}) == [FIRST.key]
    assert still_lost(observed, run_since={}) == []


def test_a_mapping_that_a_person_lets_begin_anew_gets_no_row_back() -> None:
    start = Row(key=RowKey(":start/orders/arn:stream"), details={"position": "LATEST"})
    assert created(BEGUN, FIRST, wanted=[FIRST.key], kept=[start]) == []
    assert created(FIRST, wanted=[FIRST.key], kept=[start, BEGUN]) == [[FIRST.key]], "a person did so long ago"


def test_shards_that_are_their_own_ancestors_are_created_again_too() -> None:
    """Only a fault of the service could list such shards."""
    loop = [replace(FIRST, details={"parents": ["shard-00002"]}), replace(SECOND, details={"parents": ["shard-00001"]})]
    assert created(BEGUN, *loop) == [[FIRST.key, SECOND.key], [BEGUN.key]]


def test_a_new_row_has_the_checkpoint_as_it_was_no_living_owner_and_a_counter_that_nobody_has_reached() -> None:
    lost = replace(FIRST, counter=7, token=5)
    [[row]] = groups_of(lost, wanted=[lost.key])
    assert row == replace(lost, counter=7 + COUNTER_STEP, owner=NOBODY)
