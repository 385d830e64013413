"""How many seeds? 250 in the gate; by hand `pytest tests/simulation --seeds 5000 --first-seed 100000`."""

from __future__ import annotations

import pytest


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        first = int(metafunc.config.getoption("--first-seed"))
        metafunc.parametrize("seed", range(first, first + int(metafunc.config.getoption("--seeds"))))
