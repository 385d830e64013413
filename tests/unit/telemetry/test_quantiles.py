"""How long did most invocations take?"""

from __future__ import annotations

from math import inf

import pytest

from poller.telemetry.quantiles import quantile_of

BOUNDS = (1.0, 2.0, 4.0, inf)


@pytest.mark.parametrize(
    ("counts", "quantile", "expected"),
    [
        ((10, 10, 10, 10), 0.5, 0.5),
        ((0, 10, 10, 10), 0.5, 1.5),
        ((0, 10, 10, 10), 0.99, 1.99),
        ((98, 98, 100, 100), 0.99, 3.0),
        ((98, 98, 100, 100), 0.5, pytest.approx(50 / 98)),
        ((0, 0, 5, 10), 0.99, 4.0),
        ((0, 0, 0, 1), 0.5, 4.0),
        ((0, 0, 10, 10), 0.0, 2.0),
        ((0, 0, 0, 0), 0.5, None),
        ((), 0.5, None),
    ],
)
def test_a_quantile_lies_within_its_bucket(counts: tuple[float, ...], quantile: float, expected: float | None) -> None:
    assert quantile_of(BOUNDS, counts, quantile) == expected
