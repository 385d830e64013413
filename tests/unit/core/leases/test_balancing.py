from __future__ import annotations

import random

import pytest

from poller.core.leases.balancing import Balance, dampened, is_worth_it, load_of
from poller.core.leases.placement import MOVES_AT_ONCE
from poller.model.lease import Detail, Owner, Row
from tests.unit.core.leases.tables import observed_by, shard, unit, worker

A, B, C = Owner("a"), Owner("b"), Owner("c")


def planned(*rows: Row, workers: str = "ab") -> list[str]:
    """Return the planned moves, such as "0 a>b"."""
    seen = Balance(observed_by(A, [*map(worker, workers), *rows]))
    return [f"{int(move.key[-5:])} {move.giver}>{move.receiver}" for move in seen.planned()]


@pytest.mark.parametrize(
    ("rate", "load"),
    [
        (0.0, 20_000),
        (5, 20_005),
        (1e6, 1_020_000),
        (-5.0, 20_000),
        (float("nan"), 20_000),
        (float("inf"), 20_000),
        ("many", 20_000),
        (None, 20_000),
    ],
)
def test_an_idle_shard_has_a_load_too(rate: Detail, load: float) -> None:
    assert load_of(shard(0, None, rate)) == load


def test_a_rate_is_dampened() -> None:
    assert dampened(1000, 1000, 3) == 1000
    assert dampened(0, 1000, 60) == pytest.approx(632, abs=1)
    assert dampened(dampened(0, 1000, 20), 1000, 40) == pytest.approx(dampened(0, 1000, 60))


def test_new_shards_get_places_at_the_workers_with_the_smallest_loads_as_in_a_new_plan() -> None:
    known, new = [shard(0, "a", 1e6), shard(1, "b")], [shard(3, None), shard(2, None, 3e6), shard(4, None)]
    seen = Balance(observed_by(A, [worker("a"), worker("b"), *known]))
    seen.add(new)
    assert [seen.places[row.key] for row in new] == [A, B, A]
    again = Balance(observed_by(A, [worker("a"), worker("b"), *known, *new]))
    assert (seen.places, seen.loads) == (again.places, again.loads)


@pytest.mark.parametrize(
    ("load", "giver", "receiver", "is_worth"),
    [
        (1, 4, 2, True),
        (1, 3, 2, False),
        (10, 10, 0, False),
        (10, 20, 1, True),
        (7.5, 20, 10, True),
        (7.6, 20, 10, False),
        (1, 100, 80, False),
        (1, 100, 79, True),
        (1, 0, 0, False),
        (1, 1, 5, False),
    ],
)
def test_a_move_is_worth_it_if_it_makes_the_loads_clearly_more_alike(
    load: float, giver: float, receiver: float, is_worth: bool
) -> None:
    assert is_worth_it(load, giver, receiver) == is_worth


def test_the_heaviest_free_shards_are_placed_first() -> None:
    rows = [shard(0, None, 1e6), shard(1, None, 9e5), shard(2, None, 4e5), shard(3, None, 2e5), shard(4, "b", 1e5)]
    seen = Balance(observed_by(A, [worker("a"), worker("b"), *rows]))
    assert [seen.places[row.key] for row in rows] == [A, B, A, B, B]
    assert seen.loads == {A: 1_440_000, B: 1_260_000}


def test_a_heavy_shard_moves_rather_than_many_light_ones() -> None:
    light = [shard(number, "a", 1e4) for number in range(1, 11)]
    assert planned(shard(0, "a", 3e5), *light) == ["0 a>b"]


def test_light_shards_move_if_the_heavy_one_is_too_heavy() -> None:
    light = [shard(number, "a", 0) for number in range(2)]
    assert planned(*light, shard(2, "a", 1e6)) == ["1 a>b", "0 a>b"]
    assert planned(shard(0, "a", 1e6)) == []


def test_the_lease_that_makes_the_loads_most_alike_moves() -> None:
    assert planned(shard(0, "a", 9e5), shard(1, "a", 1.4e6)) == ["0 a>b"]


def test_a_worker_without_light_shards_does_not_stop_the_others_from_giving() -> None:
    rows = [shard(0, "a", 1e6), *[shard(number, "b", 1e5) for number in range(1, 5)]]
    assert planned(*rows, workers="abc") == ["4 b>c", "1 b>c"]


def test_more_workers_than_leases_move_nothing() -> None:
    assert planned(shard(0, "a"), shard(1, "b"), shard(2, "b"), workers="abcdefgh") == ["1 b>c"]
    assert planned(shard(0, "a"), shard(1, "b"), shard(2, "c"), workers="abcdefgh") == []


def test_units_of_concurrency_have_no_load() -> None:
    seen = Balance(observed_by(A, [worker("a"), unit("resize", 0, "a")]))
    assert (seen.places, seen.loads) == ({}, {A: 0.0})


def test_a_giver_is_asked_for_a_limited_number_of_leases_in_one_round() -> None:
    rows = [shard(number, "a") for number in range(3 * MOVES_AT_ONCE)]
    assert len(planned(*rows)) == MOVES_AT_ONCE


def test_a_new_worker_of_a_rolling_deploy_gets_its_share_in_one_round() -> None:
    owners = ["a"] * 500 + ["b"] * 500
    moves_of_rounds = []
    while True:
        rows = [shard(number, owner) for number, owner in enumerate(owners)]
        moves = Balance(observed_by(A, [*map(worker, "abc"), *rows])).planned()
        if not moves:
            break
        moves_of_rounds.append(len(moves))
        for move in moves:
            owners[int(move.key[-5:])] = move.receiver
    assert moves_of_rounds == [286]
    assert owners.count("c") >= 0.8 * 1000 / 3


def test_a_load_that_varies_a_little_moves_few_leases() -> None:
    randomness = random.Random(1)
    rates = [randomness.choice([0.0, 1e4, 1e5, 5e5]) for _ in range(60)]
    owners = [randomness.choice("ab") for _ in rates]  # the third worker has just started
    moves_of_rounds = []
    for _ in range(200):
        noisy = [rate * randomness.uniform(0.9, 1.1) for rate in rates]
        rows = [shard(number, owner, noisy[number]) for number, owner in enumerate(owners)]
        moves = Balance(observed_by(A, [*map(worker, "abc"), *rows])).planned()
        for move in moves:
            owners[int(move.key[-5:])] = move.receiver
        moves_of_rounds.append(len(moves))
    assert 3 < moves_of_rounds[0] < 20
    assert sum(moves_of_rounds[1:]) <= 2
