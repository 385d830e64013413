"""Which clicks did the function see, and in which order? `count_clicks` writes a line for each click into a file.

All processes of the function write into this one file, so its lines are in the order in which the function saw the
clicks.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from poller.demo.clicks.story import Click


class Sighting(NamedTuple):
    """A click, and the shard and the sequence number of its record."""

    click: Click
    shard: str
    sequence_number: str


def read_trace(file: Path) -> list[Sighting]:
    """Return every sighting, in the order of the file. A last line that is not complete yet is left out.

    Before the function is invoked there is no file, and the list is empty.
    """
    if not file.exists():
        return []
    return [_sighting(line) for line in file.read_text(encoding="utf-8").splitlines(keepends=True) if line[-1] == "\n"]


def _sighting(line: str) -> Sighting:
    user, number, event_id = line.split()
    shard, _, sequence_number = event_id.partition(":")
    return Sighting(Click(user, int(number)), shard, sequence_number)
