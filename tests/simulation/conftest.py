"""How many seeds? As many as the test says; by hand `pytest tests/simulation --seeds 5000 --first-seed 100000`."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = int(metafunc.config.getoption("--first-seed"))
        seeds = metafunc.config.getoption("--seeds")
        count = metafunc.module.SEEDS_IN_THE_GATE if seeds is None else int(seeds)
        metafunc.parametrize("seed", range(first, first + count))
