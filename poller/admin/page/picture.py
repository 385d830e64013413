"""How do the last 30 minutes look? A line for the records of each interval, and a mark where records failed."""

from __future__ import annotations

from poller.admin.page.markup import NOTHING, Html, element
from poller.admin.words import rate
from poller.telemetry.history import INTERVAL_IN_SECONDS, MappingHistory

WIDTH, HEIGHT = 120, 24


def picture(history: MappingHistory) -> Html:
    """Return an inline SVG with a description for screen readers, or an empty text if there were no records."""
    highest = max(history.records, default=0.0)
    if highest <= 0:
        return NOTHING
    step = WIDTH / max(1, len(history.records) - 1)
    points = " ".join(
        f"{index * step:.0f},{HEIGHT - 2 - records / highest * (HEIGHT - 4):.0f}"
        for index, records in enumerate(history.records)
    )
    failures = "".join(
        f"M{index * step:.0f} {HEIGHT}v-{max(3.0, min(1.0, failed / highest) * HEIGHT):.0f}"
        for index, failed in enumerate(history.failed)
        if failed > 0
    )
    marks = Html(f'<path class="failed" d="{failures}"/>') if failures else NOTHING
    label = (
        f"records a second in the last 30 minutes: now {rate(history.records[-1] / INTERVAL_IN_SECONDS)}, "
        f"at most {rate(highest / INTERVAL_IN_SECONDS)}" + (", with failures" if failures else "")
    )
    line = Html(f'<polyline points="{points}"/>')
    return element("svg", marks, line, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)
