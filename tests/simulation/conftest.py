"""How many seeds does a test run?

Its own number, or that of `pytest tests/simulation --seeds 5000 --first-seed 100000`.

The first seeds count as quick tests. Coverage measures only the quick tests of this folder and a few seeds, because it
makes a test almost three times slower, and further seeds run the same lines.
"""

from __future__ import annotations

import pytest

QUICK_SEEDS = 10
WATCHED_SEEDS = 3


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("slow"):
        item.add_marker("no_cover")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = int(metafunc.config.getoption("--first-seed"))
        seeds = metafunc.config.getoption("--seeds")
        count = metafunc.module.SEEDS_IN_THE_GATE if seeds is None else int(seeds)
        seeds_with_marks = [pytest.param(seed, marks=_marks(seed - first)) for seed in range(first, first + count)]
        metafunc.parametrize("seed", seeds_with_marks)


def _marks(index: int) -> list[pytest.MarkDecorator]:
    if index >= QUICK_SEEDS:
        return [pytest.mark.slow]
    return [pytest.mark.no_cover] if index >= WATCHED_SEEDS else []
