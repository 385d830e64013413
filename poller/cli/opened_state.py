"""How does a command reach the state? As the daemon does: in a file or in a table. An event loop in a thread calls it.

So Ctrl-C ends the command at once, also while it asks the person or waits for the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import typer
from anyio.from_thread import BlockingPortal, start_blocking_portal

from poller.model.lease import Row
from poller.model.mapping import StreamMapping
from poller.settings.values import Settings
from poller.stores.lease_by_hand import Hand
from poller.stores.lease_file import shown


class Opened(NamedTuple):
    """The state, opened for changes. `loop.call` runs the methods of `hand`."""

    hand: Hand
    loop: BlockingPortal


def shown_rows(settings: Settings) -> list[Row] | None:
    """Return all rows of the state, or None if there is no state yet."""
    state = settings.daemon.state
    if state.startswith("sqlite://"):
        return shown(Path(state.removeprefix("sqlite://")))
    from poller.composition.event_queues import aws_settings
    from poller.composition.state import rows_of_table

    return anyio.run(rows_of_table, state, aws_settings(settings))


def rows_in_kcl_table(settings: Settings, mapping: StreamMapping) -> list[Row]:
    """Return the rows of the mapping's shards in its table of KCL. Raises PollerError if it cannot be read."""
    from poller.composition.event_queues import aws_settings
    from poller.composition.kcl_by_hand import rows_of_table

    return anyio.run(rows_of_table, mapping, aws_settings(settings))


@contextmanager
def opened_with_kcl_table(settings: Settings, mapping: StreamMapping) -> Iterator[Opened]:
    """Open the state and the mapping's table of KCL for changes."""
    from poller.composition.event_queues import aws_settings
    from poller.composition.kcl_by_hand import open_by_hand

    with start_blocking_portal() as loop:
        opening = open_by_hand(mapping, settings.daemon.state, aws_settings(settings), tell=_tell)
        with loop.wrap_async_context_manager(opening) as hand:
            yield Opened(hand, loop)


@contextmanager
def opened(settings: Settings, *, state: str | None = None, creates: bool = False) -> Iterator[Opened | None]:
    """Open the state for changes: that of the settings, or the one at the address `state`.

    If there is no state yet, creates it or yields None.
    """
    from poller.composition.event_queues import aws_settings
    from poller.composition.state import open_by_hand

    with start_blocking_portal() as loop:
        opening = open_by_hand(state or settings.daemon.state, aws_settings(settings), tell=_tell, creates=creates)
        with loop.wrap_async_context_manager(opening) as hand:
            yield None if hand is None else Opened(hand, loop)


def name_of(settings: Settings) -> str:
    """Return how a person calls the state: the path of the file, or the address of the table."""
    return settings.daemon.state.removeprefix("sqlite://")


def _tell(sentence: str) -> None:
    typer.echo(sentence, err=True)
