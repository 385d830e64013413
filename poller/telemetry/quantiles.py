"""How long did most invocations take? A histogram tells it: the narrower its buckets, the more exactly.

Source: Prometheus documentation, "histogram_quantile()".
"""

from __future__ import annotations

from collections.abc import Sequence


def quantile_of(bounds: Sequence[float], counts: Sequence[float], quantile: float) -> float | None:
    """Return the value below which this part of all values is, or None if there is no value.

    `counts` says how many values are at most as large as each bound. The last bound is infinite. Within a bucket, the
    values count as spread evenly. If the value is beyond the last finite bound, this bound is returned.
    """
    if not counts or counts[-1] <= 0:
        return None
    wanted = quantile * counts[-1]
    place = next(place for place, count in enumerate(counts) if count >= wanted and count > 0)
    if place == len(bounds) - 1:
        return bounds[-2]
    below, count_below = (bounds[place - 1], counts[place - 1]) if place else (0.0, 0.0)
    return below + (bounds[place] - below) * (wanted - count_below) / (counts[place] - count_below)
