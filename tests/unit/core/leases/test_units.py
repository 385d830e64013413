from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from poller.core.leases.balancing import Balance
from poller.core.leases.placement import MOVES_AT_ONCE
from poller.core.leases.units import (
    LimitName,
    Units,
    beyond_limits,
    limit_of,
    limit_of_function,
    limit_of_mapping,
    unit_key,
)
from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner, Row, RowKey
from tests.unit.core.leases.tables import observed_by, shard, unit, worker

A, B, C = Owner("a"), Owner("b"), Owner("c")
FUNCTIONS = {MappingName("orders"): FunctionName("resize"), MappingName("carts"): FunctionName("resize")}


def units(me: Owner, *rows: Row, workers: str = "abc", is_stopping: bool = False) -> Units:
    observed = observed_by(me, [*map(worker, workers), *rows])
    return Units(observed, functions=FUNCTIONS, is_stopping=is_stopping)


def planned(*rows: Row, workers: str = "abc") -> list[str]:
    """Return the planned moves, such as "resize/0 a>b"."""
    moves = units(A, *rows, workers=workers).planned()
    return [f"{move.key.removeprefix(':unit/')} {move.giver}>{move.receiver}" for move in moves]


def test_the_key_of_a_unit_has_the_limit_and_the_number() -> None:
    assert unit_key(limit_of_function(FunctionName("resize")), 3) == unit("resize", 3, None).key
    assert unit_key(limit_of_mapping(MappingName("orders")), 3) == ":unit/:mapping/orders/3"


@pytest.mark.parametrize(
    "limit",
    [
        limit_of_function(FunctionName("arn:aws:lambda:eu-west-1:123456789012:function:resize:live")),
        limit_of_mapping(MappingName("orders")),
    ],
)
def test_the_key_of_a_unit_names_its_limit(limit: LimitName) -> None:
    assert limit_of(unit_key(limit, 12)) == limit


def test_units_beyond_a_smaller_limit_are_deleted_once_they_have_no_owner() -> None:
    rows = [unit("resize", 0, None), unit("resize", 1, "a"), unit("resize", 2, None), unit("other", 5, None)]
    assert beyond_limits(rows, {LimitName("resize"): 1}) == [rows[2]]
    assert beyond_limits(rows, {LimitName("resize"): 0}) == [rows[0], rows[2]]
    assert beyond_limits(rows, {LimitName("resize"): 3}) == []
    assert beyond_limits([shard(9, None)], {LimitName("orders/arn:stream"): 0}) == [], "it is no unit"


@pytest.mark.parametrize(("count", "each"), [(7, [2, 2, 3]), (3, [1, 1, 1]), (2, [0, 1, 1]), (1, [0, 0, 1])])
def test_the_units_of_a_function_are_divided(count: int, each: list[int]) -> None:
    free = [unit("resize", number, None) for number in range(count)]
    wanted = {row.key: 100.0 for row in free}
    taken = [key for me in (A, B, C) for key in units(me, *free).to_take(wanted, now=100, held=())]
    assert sorted(taken) == [row.key for row in free]
    assert sorted(Counter(units(A, *free).places.values()).values()) == [part for part in each if part]


def test_functions_with_one_unit_each_use_all_workers() -> None:
    free = [unit(f"f{number}", 0, None) for number in range(9)]
    assert Counter(units(A, *free).places.values()) == {A: 3, B: 3, C: 3}


def test_a_worker_without_units_asks_for_one() -> None:
    rows = [unit("resize", 0, "a"), unit("resize", 1, "a"), unit("resize", 2, "b")]
    assert planned(*rows) == ["resize/0 a>c"]
    assert [move.key for move in units(C, *rows).to_request([":unit/resize"])] == [rows[0].key]
    assert units(C, *rows).to_request([":unit/other"]) == []
    assert units(A, *rows).to_grant(":unit/resize", C) == [rows[0].key]
    assert units(A, *rows).to_grant(":unit/other", C) == []


def missing(name: str, **seconds: float) -> Row:
    """Return the row of a worker at which invocations have waited for so long, by limit."""
    row = worker(name)
    return replace(row, details={**row.details, "missing": {**seconds}})


def test_the_only_unit_goes_to_the_worker_at_which_an_invocation_has_waited_longest() -> None:
    rows = [unit("resize", 0, "a"), unit("other", 0, "a"), unit("other", 1, "b"), unit("other", 2, "c")]
    waiting = [missing("b", resize=5.0), missing("c", resize=9.0)]
    assert planned(*waiting, *rows, workers="a") == ["resize/0 a>c"]
    assert units(A, *waiting, *rows, workers="a").to_grant(":unit/resize", B) == []
    assert units(A, *waiting, *rows, workers="a").to_grant(":unit/resize", C) == [rows[0].key]


def test_a_worker_with_a_unit_gets_no_further_one_though_an_invocation_waits() -> None:
    rows = [unit("resize", 0, "a"), unit("resize", 1, "b")]
    assert planned(missing("b", resize=5.0), *rows, workers="a") == []


def test_the_only_unit_does_not_move() -> None:
    assert planned(unit("resize", 0, "a")) == []


def test_the_only_units_of_many_functions_move_to_a_new_worker() -> None:
    rows = [unit(f"f{number}", 0, "ab"[number % 2]) for number in range(6)]
    assert planned(*rows) == ["f0/0 a>c", "f1/0 b>c"]


def test_a_holder_grants_no_unit_to_a_worker_that_has_as_many() -> None:
    rows = [unit("resize", 0, "a"), unit("resize", 1, "a")]
    seen = units(A, *rows)
    assert not seen.grant(rows[0].key, Owner("gone"))
    assert seen.grant(rows[0].key, B)
    assert not seen.grant(rows[1].key, C)


def test_a_holder_with_one_unit_grants_it_to_a_worker_with_two_fewer_at_all() -> None:
    rows = [unit("f0", 0, "a"), unit("f1", 0, "a"), unit("f2", 0, "b")]
    assert not units(A, *rows).grant(rows[0].key, B)
    assert units(A, *rows).grant(rows[0].key, C)


def test_a_holder_grants_no_second_unit_to_a_worker_with_fewer_at_all() -> None:
    rows = [unit("f0", 0, "a"), unit("f0", 1, "b"), unit("f1", 0, "a"), unit("f2", 0, "a")]
    assert not units(A, *rows).grant(rows[0].key, B)


def test_a_giver_is_asked_for_a_limited_number_of_units_in_one_round() -> None:
    rows = [unit("resize", number, "a") for number in range(2 * MOVES_AT_ONCE + 10)]
    assert len(planned(*rows, workers="ab")) == MOVES_AT_ONCE


def test_only_workers_with_a_unit_may_read_the_shards_of_the_function() -> None:
    seen = units(A, unit("resize", 0, "b"))
    assert seen.receivers(shard(0, None).key, seen.workers) == (B,)
    assert seen.receivers(shard(0, None, mapping="carts").key, seen.workers) == (B,)
    assert seen.receivers(shard(0, None, mapping="unlimited").key, seen.workers) == (A, B, C)


def test_a_worker_that_gave_its_last_unit_away_gives_the_shards_away_too() -> None:
    held = [shard(0, "a").key, shard(1, "a", mapping="carts").key, shard(2, "a", mapping="unlimited").key]
    seen = units(A, unit("resize", 0, "a"))
    assert seen.without_unit(held) == held[:2]
    assert seen.without_unit([*held, unit_key(LimitName("other"), 0)]) == held[:2]
    assert seen.without_unit([*held, unit_key(LimitName("resize"), 0)]) == []


def test_with_one_unit_and_three_workers_every_mapping_of_the_function_moves() -> None:
    rows = [unit("resize", 0, None), *[shard(number, None, mapping="orders") for number in range(4)]]
    rows += [shard(number, None, mapping="carts") for number in range(4)]
    places = {}
    for me in (A, B, C):
        observed = observed_by(me, [*map(worker, "abc"), *rows])
        seen = Units(observed, functions=FUNCTIONS)
        places[me] = Balance(observed, receivers=seen.receivers).places
    holder = units(A, rows[0]).places[rows[0].key]
    assert list(places.values()) == [dict.fromkeys((row.key for row in rows[1:]), holder)] * 3


def test_the_shards_of_a_dead_worker_follow_its_unit() -> None:
    rows = [unit("resize", 0, "dead"), *[shard(number, "dead") for number in range(4)], shard(4, "a", 1e6, mapping="x")]
    observed = observed_by(A, [*map(worker, "abc"), *rows])
    seen = Units(observed, functions=FUNCTIONS)
    balance = Balance(observed, receivers=seen.receivers)
    assert {balance.places[row.key] for row in rows[1:5]} == {seen.places[rows[0].key]}


def test_a_worker_that_stops_hands_its_shards_to_the_worker_that_gets_the_unit() -> None:
    rows = [unit("resize", 0, "a"), shard(0, "a"), shard(1, "a"), shard(2, "b", mapping="unlimited")]
    observed = observed_by(A, [*map(worker, "abc"), *rows])
    stopping = Units(observed, functions=FUNCTIONS, is_stopping=True)
    balance = Balance(observed, receivers=stopping.receivers, is_stopping=True)
    assert stopping.places == {rows[0].key: B}
    assert balance.places == {rows[1].key: B, rows[2].key: B, rows[3].key: B}


def test_a_unit_that_moves_already_takes_the_shards_along() -> None:
    rows = [unit("resize", 0, "a"), shard(0, "a")]
    observed = observed_by(A, [*map(worker, "abc"), *rows])
    moving = Units(observed, functions=FUNCTIONS, moving={rows[0].key: C})
    assert Balance(observed, receivers=moving.receivers).places == {rows[1].key: C}


def test_a_shard_is_not_granted_to_a_worker_without_a_unit() -> None:
    rows = [unit("resize", 0, "a"), unit("resize", 1, "b"), *[shard(number, "a") for number in range(4)]]
    observed = observed_by(A, [*map(worker, "abc"), *rows])
    balance = Balance(observed, receivers=Units(observed, functions=FUNCTIONS).receivers)
    assert not balance.grant(rows[2].key, C)
    assert balance.grant(rows[2].key, B)


def test_a_function_without_units_has_no_receivers() -> None:
    observed = observed_by(A, [*map(worker, "abc"), shard(0, None)])
    seen = Units(observed, functions=FUNCTIONS)
    balance = Balance(observed, receivers=seen.receivers)
    assert (balance.places, balance.planned()) == ({}, [])


def test_a_key_that_is_no_unit_has_no_place() -> None:
    seen = units(A, shard(0, "a"), Row(key=RowKey(":pause/orders")))
    assert seen.places == {}
