"""How many seeds? As many as the test says; by hand `pytest tests/simulation --seeds 5000 --first-seed 100000`.

The first seeds are quick. Coverage watches only the quick tests of this folder: a watched test takes almost three times
as long, and the slow ones run the same lines.
"""

from __future__ import annotations

import pytest

QUICK_SEEDS = 10


def pytest_itemcollected(item: pytest.Item) -> None:
    if item.get_closest_marker("slow"):
        item.add_marker("no_cover")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = int(metafunc.config.getoption("--first-seed"))
        seeds = metafunc.config.getoption("--seeds")
        count = metafunc.module.SEEDS_IN_THE_GATE if seeds is None else int(seeds)
        quick = [pytest.param(seed) for seed in range(first, first + min(count, QUICK_SEEDS))]
        slow = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(first + QUICK_SEEDS, first + count)]
        metafunc.parametrize("seed", [*quick, *slow])
