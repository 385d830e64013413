"""Which figures does a round of calls have, and how are those of several rounds shown?"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

HEAD = ("row", "per second", "CPU µs", "p50 ms", "p99 ms")


class Measured(NamedTuple):
    """The figures of one round. The CPU time, `p50` and `p99` are in seconds."""

    per_second: float
    cpu: float
    p50: float
    p99: float

    @classmethod
    def of(cls, waits: Sequence[float], *, took: float, cpu: float) -> Measured:
        """Return the figures of calls with these waits, which took `took` and `cpu` seconds together."""
        cuts = statistics.quantiles(waits, n=100)
        return cls(len(waits) / took, cpu / len(waits), cuts[49], cuts[98])


def table(rounds: Mapping[str, Sequence[Measured]]) -> str:
    """Return a Markdown table. A cell has the median of all rounds, then the lowest and the highest figure."""
    lines = [HEAD, ("---", *["---:"] * (len(HEAD) - 1))]
    for name, of_row in rounds.items():
        rates, costs, medians, tails = zip(*of_row, strict=True)
        lines.append(
            (
                name,
                _cell(rates, 1, ",.0f"),
                _cell(costs, 1e6, ",.0f"),
                _cell(medians, 1e3, ".2f"),
                _cell(tails, 1e3, ".1f"),
            )
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(figures: Sequence[float], scale: float, form: str) -> str:
    median, lowest, highest = (
        format(each * scale, form) for each in (statistics.median(figures), min(figures), max(figures))
    )
    return median if len(figures) == 1 else f"{median} ({lowest}–{highest})"
