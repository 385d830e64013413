"""Do workers that compute the same placement get all leases, alike loads, and peace? Beside lists of numbers."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from poller.core.leases.balancing import Balance, is_worth_it, load_of
from poller.core.leases.units import Units
from poller.model.lease import Owner, Row
from tests.unit.core.leases.tables import observed_by, shard, unit, worker

RATES = st.sampled_from([0.0, 1e3, 5e4, 1e5, 1e6])
HOLDERS = st.sampled_from(["a", "b", "c", "dead", None])
SHARDS = st.lists(st.tuples(HOLDERS, RATES), max_size=40)
WORKERS = st.sets(st.sampled_from("abcd"), min_size=1).map(sorted)


def balances(workers: list[str], rows: list[Row]) -> list[Balance]:
    """Return what each of the workers has computed."""
    return [Balance(observed_by(me, [*map(worker, workers), *rows])) for me in workers]


@given(SHARDS, WORKERS)
def test_all_workers_compute_a_place_for_each_lease(shards: list[tuple[str | None, float]], workers: list[str]) -> None:
    rows = [shard(number, holder, rate) for number, (holder, rate) in enumerate(shards)]
    computed = balances(workers, rows)
    for balance in computed:
        assert balance.places == computed[0].places
        assert balance.planned() == computed[0].planned()
        assert balance.places.keys() == {row.key for row in rows}
        assert balance.loads == {
            name: sum(load_of(row) for row in rows if balance.places[row.key] == name) for name in workers
        }
    assert all(computed[0].places[row.key] == row.owner for row in rows if row.owner in workers)


@given(SHARDS, WORKERS)
def test_fixed_loads_settle(shards: list[tuple[str | None, float]], workers: list[str]) -> None:
    """No move is worth it in the end, no lease moves twice, and each move makes the sum of the squares smaller."""
    rows = [shard(number, holder, rate) for number, (holder, rate) in enumerate(shards)]
    places = balances(workers, rows)[0].places
    rows = [
        shard(number, places[row.key], rate) for number, (row, (_, rate)) in enumerate(zip(rows, shards, strict=True))
    ]
    balance = balances(workers, rows)[0]
    moved: Counter[str] = Counter()
    while moves := balance.planned():
        squares = sum(load**2 for load in balance.loads.values())
        for move in moves:
            assert balance.may_move(move.key, move.receiver)
            balance.move(move.key, move.receiver)
            moved[move.key] += 1
            before, squares = squares, sum(load**2 for load in balance.loads.values())
            assert squares < before
        rows = [
            shard(number, balance.places[row.key], rate)
            for number, (row, (_, rate)) in enumerate(zip(rows, shards, strict=True))
        ]
        balance = balances(workers, rows)[0]
    assert sum(moved.values()) <= len(rows)
    greatest, smallest = max(balance.loads.values()), min(balance.loads.values())
    heaviest_holders = [name for name, load in balance.loads.items() if load == greatest]
    for row in rows:
        if row.owner in heaviest_holders:
            assert not is_worth_it(load_of(row), greatest, smallest)


@given(st.lists(st.tuples(st.sampled_from("fgh"), HOLDERS), max_size=20), WORKERS)
def test_units_settle_at_equal_parts(held: list[tuple[str, str | None]], workers: list[str]) -> None:
    rows = [unit(function, number, holder) for number, (function, holder) in enumerate(held)]
    for rounds in range(10):
        computed = [Units(observed_by(me, [*map(worker, workers), *rows]), functions={}) for me in workers]
        moves = computed[0].planned()
        for units in computed:
            assert (units.places, units.planned()) == (computed[0].places, moves)
        places = computed[0].places | {move.key: move.receiver for move in moves}
        rows = [
            unit(function, number, places[row.key])
            for number, (row, (function, _)) in enumerate(zip(rows, held, strict=True))
        ]
        if rounds > 0 and not moves:
            break
    assert not moves
    at_all = Counter(row.owner for row in rows)
    for function in "fgh":
        owners = [row.owner for row in rows if row.key.startswith(f":unit/{function}/")]
        parts = [owners.count(Owner(name)) for name in workers]
        assert max(parts) - min(parts) <= 1
    assert len(at_all) <= len(workers)
