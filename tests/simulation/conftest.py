"""How many seeds does a test run?

As many as its module says (SEEDS_IN_THE_GATE), or as the command says: `pytest tests/simulation --seeds 5000
--first-seed 100000`. The first seed is a quick test. If the module sets QUICK_SEEDS, that many seeds are quick tests.
"""

from __future__ import annotations

import pytest

QUICK_SEEDS = 1


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = int(metafunc.config.getoption("--first-seed"))
        seeds = metafunc.config.getoption("--seeds")
        count = metafunc.module.SEEDS_IN_THE_GATE if seeds is None else int(seeds)
        few = getattr(metafunc.module, "QUICK_SEEDS", QUICK_SEEDS)
        quick, slow = range(first, first + min(count, few)), range(first + few, first + count)
        metafunc.parametrize("seed", [*quick, *(pytest.param(seed, marks=pytest.mark.slow) for seed in slow)])
