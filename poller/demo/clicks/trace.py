"""What did the function see, in its own words? The file that `count_clicks` writes, a line for each click.

Its lines stand in the order of seeing, over all processes of the function.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from poller.demo.clicks.story import Click


class Sighting(NamedTuple):
    """A click that the function saw, in the shard and at the sequence number that it was told."""

    click: Click
    shard: str
    sequence_number: str


def read_trace(file: Path) -> list[Sighting]:
    """Every sighting, in order; none before the function was invoked. A line that is half written waits its turn."""
    if not file.exists():
        return []
    return [_sighting(line) for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]


def _sighting(line: str) -> Sighting:
    user, number, event_id = line.split()
    shard, _, sequence_number = event_id.partition(":")
    return Sighting(Click(user, int(number)), shard, sequence_number)
