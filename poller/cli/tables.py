"""How are stored positions shown? As a table for each mapping, or as one JSON document for programs.

The stream mappings of the settings come first, in the file's order, including those without stored positions.
Positions in a stream that no mapping reads any more come last: they are kept in case the mapping reads it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from poller.cli.positions import for_programs, in_words, when
from poller.cli.times import ago
from poller.model.mapping import StreamMapping
from poller.model.stream import StateKey, Window
from poller.stores.by_hand import Stored

NOTHING = Stored(None, {}, {})
WIDEST_LINE = 100_000
"""Columns. No row is so wide, so rich never breaks one."""


class Entry(NamedTuple):
    """The stored positions of one mapping in one stream.

    `mapping` is None if the settings have no mapping of this name that reads this stream.
    """

    key: StateKey
    mapping: StreamMapping | None
    stored: Stored


def entries(mappings: Iterable[StreamMapping], stored: Mapping[StateKey, Stored]) -> list[Entry]:
    current = {mapping.state_key: mapping for mapping in mappings}
    return [
        *(Entry(key, mapping, stored.get(key, NOTHING)) for key, mapping in current.items()),
        *(Entry(key, None, found) for key, found in stored.items() if key not in current),
    ]


def table(entry: Entry) -> str:
    """Return the lines for a person, in colour on a terminal.

    No line is broken, so that numbers can be copied and programs such as grep can read the lines.
    """
    console = Console(width=WIDEST_LINE, highlight=False)
    with console.capture() as lines:
        console.print(Text(f"{entry.key.mapping}: {entry.key.stream_arn}", style="bold"))
        for note in _notes(entry):
            console.print(Text(f"  {note}"))
        if entry.stored.checkpoints:
            console.print(_table(entry.stored, time.time()))
    return "\n".join(line.rstrip() for line in lines.get().splitlines())


def _notes(entry: Entry) -> Iterable[str]:
    by_hand = entry.stored.starting_position
    if entry.mapping is None:
        yield "no mapping of this name reads this stream; the position is kept for a mapping that does again"
    elif not entry.stored.checkpoints and by_hand is None:
        yield f"nothing is stored; it begins {in_words(entry.mapping.starting_position)}"
    if by_hand is not None:
        which = "where nothing is stored of it" if entry.stored.checkpoints else "nothing else is stored"
        yield f"set by hand, {which}: it begins {in_words(by_hand)}"


def _table(stored: Stored, now: float) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    has_windows = any(checkpoint.window for checkpoint in stored.checkpoints.values())
    for column in ("  SHARD", "SAVED", "POSITION", *(["OPEN WINDOW"] if has_windows else [])):
        table.add_column(column, no_wrap=True)
    for shard_id, (position, window) in sorted(stored.checkpoints.items()):
        cells = [f"  {shard_id}", ago(now - stored.saved_at[shard_id]), in_words(position)]
        table.add_row(*map(Text, cells), *([Text(_window(window))] if has_windows else []))
    return table


def _window(window: Window | None) -> str:
    return "" if window is None else f"{when(window.start)} to {when(window.end)}, {len(window.state)} bytes of state"


def document(entry: Entry) -> dict[str, Any]:
    """Return the entry as JSON for programs. Times are in epoch seconds."""
    by_hand = entry.stored.starting_position
    return {
        "mapping": entry.key.mapping,
        "stream_arn": entry.key.stream_arn,
        "is_read": entry.mapping is not None,
        "starting_position": None if entry.mapping is None else for_programs(entry.mapping.starting_position),
        "set_by_hand": None if by_hand is None else for_programs(by_hand),
        "shards": [
            {
                "shard_id": shard_id,
                "position": for_programs(checkpoint.position),
                "window": _bounds(checkpoint.window),
                "saved_at": entry.stored.saved_at[shard_id],
            }
            for shard_id, checkpoint in sorted(entry.stored.checkpoints.items())
        ],
    }


def _bounds(window: Window | None) -> dict[str, int] | None:
    if window is None:
        return None
    return {"start": window.start, "end": window.end, "state_size_in_bytes": len(window.state)}
