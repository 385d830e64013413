"""How are stored positions shown? As a table for each mapping, or as one JSON document for programs.

The stream mappings of the settings come first, in the file's order, including those without stored positions.
Positions in a stream that no mapping reads any more come last: they are kept in case the mapping reads it again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rich.table import Table
from rich.text import Text

from poller.cli.ending import counted
from poller.cli.printing import wide_console
from poller.cli.times import ago, duration
from poller.core.streams.written_positions import for_programs, in_words, when
from poller.model.lease import Row, time_in
from poller.model.mapping import StreamMapping
from poller.model.stream import StateKey, Window
from poller.stores.lease_by_hand import NOTHING, Stored, saved_at
from poller.stores.owners import label


class Entry(NamedTuple):
    """The stored positions of one mapping in one stream.

    `mapping` is None if the settings have no mapping of this name that reads this stream.
    `trouble` says why the mapping's table of KCL could not be read, or is None.
    `is_to_be_copied` is true if the mapping waits until its positions are copied from the state into that table.
    """

    key: StateKey
    mapping: StreamMapping | None
    stored: Stored
    trouble: str | None = None
    is_to_be_copied: bool = False


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
    console = wide_console()
    with console.capture() as lines:
        console.print(Text(f"{entry.key.mapping}: {entry.key.stream_arn}", style="bold"))
        for note in _notes(entry):
            console.print(Text(f"  {note}"))
        if entry.stored.rows:
            console.print(_table(entry.stored, time.time()))
    return "\n".join(line.rstrip() for line in lines.get().splitlines())


def _notes(entry: Entry) -> Iterable[str]:
    by_hand = entry.stored.starting_position
    if entry.stored.fault is not None:
        yield f"the mapping does not begin, because {entry.stored.fault}"
    if entry.mapping is None:
        yield "no mapping of this name reads this stream now; the positions are kept in case one reads it again"
    elif entry.is_to_be_copied:
        command = f"poller state copy daemon.state --mapping {entry.key.mapping}"
        yield f"its positions are not in {entry.mapping.kcl_table}, so it waits for `{command}`"
    elif entry.mapping.kcl_table is not None:
        yield f"its positions are in {entry.mapping.kcl_table}, the table of a KCL application"
        if entry.trouble is not None:
            yield f"they cannot be shown: {entry.trouble}"
    elif not entry.stored.checkpoints and by_hand is None and entry.stored.fault is None:
        yield f"nothing is stored; it begins {in_words(entry.mapping.starting_position)}"
    if by_hand is not None:
        which = "a shard without a position" if entry.stored.checkpoints else "every shard"
        yield f"set by hand: {which} begins {in_words(by_hand)}"


def _table(stored: Stored, now: float) -> Table:
    """Return the table of the shards. A column that would be empty is left out."""
    shards = [(shard_id, row, _blocked(row)) for shard_id, row in sorted(stored.rows.items())]
    columns = {
        "  SHARD": [f"  {shard_id}" for shard_id, _, _ in shards],
        "SAVED": ["" if (at := saved_at(row)) is None else ago(now - at) for _, row, _ in shards],
        "POSITION": [
            "reset by hand" if row.checkpoint is None else in_words(row.checkpoint[0]) for _, row, _ in shards
        ],
        "OPEN WINDOW": [_window(row.checkpoint.window if row.checkpoint else None) for _, row, _ in shards],
        "READER": ["" if row.owner is None else _reader(row, now) for _, row, _ in shards],
        "BLOCKED": [
            "" if block is None else f"{counted(block.attempts, 'attempt')} in {duration(block.age_in_seconds)}"
            for _, _, block in shards
        ],
    }
    return column_table({name: cells for name, cells in columns.items() if any(cells)})


def column_table(columns: Mapping[str, list[str]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for name in columns:
        table.add_column(name, no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*map(Text, cells))
    return table


class Blocked(NamedTuple):
    """The oldest batch that blocks a lane: its attempts, and how old the block was when the row was written last."""

    attempts: int
    age_in_seconds: float


def _blocked(row: Row) -> Blocked | None:
    blocks = row.details.get("blocked")
    found: list[Blocked] = []
    for block in blocks if isinstance(blocks, list) else []:
        match block:
            case {"attempts": int(attempts), "age_in_seconds": int() | float() as age}:
                found.append(Blocked(attempts, age))
    return max(found, key=lambda block: block.age_in_seconds, default=None)


def _reader(row: Row, now: float) -> str:
    since = read_since(row)
    return label(row) if since is None else f"{label(row)} for {duration(now - since)}"


def read_since(row: Row) -> int | None:
    """Return since when the owner reads the shard, in epoch seconds, or None if the row does not tell."""
    since = time_in(row.details.get("read_since"))
    return None if since is None or row.owner is None else int(since)


def _window(window: Window | None) -> str:
    return "" if window is None else f"{when(window.start)} to {when(window.end)}, {len(window.state)} bytes of state"


def document(entry: Entry) -> dict[str, Any]:
    """Return the entry as JSON for programs. Times are in epoch seconds."""
    by_hand = entry.stored.starting_position
    return {
        "mapping": entry.key.mapping,
        "stream_arn": entry.key.stream_arn,
        "is_read": entry.mapping is not None,
        "kcl_table": None if entry.mapping is None else entry.mapping.kcl_table,
        "starting_position": None if entry.mapping is None else for_programs(entry.mapping.starting_position),
        "set_by_hand": None if by_hand is None else for_programs(by_hand),
        "shards": [
            {
                "shard_id": shard_id,
                "position": None if row.checkpoint is None else for_programs(row.checkpoint.position),
                "window": None if row.checkpoint is None else _bounds(row.checkpoint.window),
                "saved_at": saved_at(row),
                "reader": None if row.owner is None else label(row),
                "read_since": read_since(row),
                "blocked": None if (block := _blocked(row)) is None else block._asdict(),
            }
            for shard_id, row in sorted(entry.stored.rows.items())
        ],
    }


def _bounds(window: Window | None) -> dict[str, int] | None:
    if window is None:
        return None
    return {"start": window.start, "end": window.end, "state_size_in_bytes": len(window.state)}
