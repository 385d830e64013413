"""Do all workers compute the same placement, and does it settle? Tables of leases are compared with plain sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from poller.core.leases.balancing import Balance, load_of
from poller.core.leases.expiry import Observed
from poller.core.leases.units import Units
from poller.model.lease import Owner, Row, RowKey
from tests.unit.core.leases.tables import observed_by, shard, unit, worker

HOLDERS = st.sampled_from(["a", "b", "c", "dead", None])
SHARDS = st.lists(st.tuples(HOLDERS, st.sampled_from([0.0, 1e3, 5e4, 1e5, 1e6])), max_size=40)
UNITS = st.lists(st.tuples(HOLDERS, st.sampled_from("fgh")), max_size=20)
WORKERS = st.sets(st.sampled_from("abcd"), min_size=1).map(sorted)


def receivers(key: RowKey, workers: tuple[Owner, ...]) -> tuple[Owner, ...]:
    """Let two of the workers have the shards with even numbers, and all workers the others."""
    return workers if int(key[-1]) % 2 else workers[-2:]


def balances(workers: list[str], shards: Sequence[tuple[str | None, float]]) -> list[Balance]:
    """Return what each of the workers has computed."""
    rows = [shard(number, holder, rate) for number, (holder, rate) in enumerate(shards)]
    return [Balance(observed, receivers=receivers) for observed in scans(workers, rows)]


def scans(workers: list[str], rows: list[Row]) -> list[Observed]:
    """Return what each of the workers has observed. Their scans return the rows in different orders."""
    orders = [[*map(worker, workers), *rows[at:], *rows[:at]] for at in range(len(workers))]
    return [observed_by(me, in_its_order) for me, in_its_order in zip(workers, orders, strict=True)]


@given(SHARDS, WORKERS)
def test_all_workers_compute_the_same_place_for_each_shard(
    shards: list[tuple[str | None, float]], workers: list[str]
) -> None:
    rows = [shard(number, holder, rate) for number, (holder, rate) in enumerate(shards)]
    computed = balances(workers, shards)
    for balance in computed:
        assert balance.places == computed[0].places
        assert balance.planned() == computed[0].planned()
        assert balance.places.keys() == {row.key for row in rows}
        for row in rows:
            may_have = receivers(row.key, balance.workers)
            assert (
                balance.places[row.key] == row.owner if row.owner in may_have else balance.places[row.key] in may_have
            )
        assert balance.loads == {
            name: sum(load_of(row) for row in rows if balance.places[row.key] == name) for name in workers
        }


@given(SHARDS, WORKERS)
def test_fixed_loads_settle_in_few_moves(shards: list[tuple[str | None, float]], workers: list[str]) -> None:
    """Each move makes the sum of the squares of the loads smaller, and there are at most as many moves as shards."""
    places = [holder for _, holder in sorted(balances(workers, shards)[0].places.items())]
    moves_at_all = 0
    for _ in range(10):
        balance = balances(workers, [(places[at], rate) for at, (_, rate) in enumerate(shards)])[0]
        moves = balance.planned()
        moves_at_all += len(moves)
        for move in moves:
            before = sum(load**2 for load in balance.loads.values())
            assert balance.may_move(move.key, move.receiver)
            balance.move(move.key, move.receiver)
            assert sum(load**2 for load in balance.loads.values()) < before
            places[int(move.key[-5:])] = move.receiver
    assert not moves
    assert moves_at_all <= len(shards)


@given(UNITS, WORKERS)
def test_units_settle_at_equal_parts(units: list[tuple[str | None, str]], workers: list[str]) -> None:
    holders = [holder for holder, _ in units]
    for _ in range(10):
        rows = [unit(function, at, holders[at]) for at, (_, function) in enumerate(units)]
        computed = [Units(observed, functions={}) for observed in scans(workers, rows)]
        assert all(each.places == computed[0].places for each in computed)
        assert all(each.planned() == computed[0].planned() for each in computed)
        moves = {move.key: move.receiver for move in computed[0].planned()}
        holders = [(computed[0].places | moves)[row.key] for row in rows]
    assert not moves
    at_all = Counter(holders)
    for function in "fgh":
        its = Counter(
            holder for holder, (_, its_function) in zip(holders, units, strict=True) if its_function == function
        )
        more, fewer = max(workers, key=lambda each: its[each]), min(workers, key=lambda each: its[each])
        assert its[more] - its[fewer] <= 1
        assert its[more] == its[fewer] or at_all[more] - at_all[fewer] <= 1
