"""How does `poller state set` move positions that are only in the memory of the daemon? It asks the running daemon.

    the daemon ── what would the move do? ──> shown to the person ── yes ──> the daemon moves these positions

The mapping must be paused. If its positions have changed since they were shown, the daemon refuses the move.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import typer

from poller.cli.as_json import print_json
from poller.cli.daemon import asked, socket_of
from poller.cli.ending import refused
from poller.core.streams.written_positions import for_programs, given
from poller.model.ids import MappingName


class MoveByDaemon(NamedTuple):
    """A move that a person asked for. `shard` is None if the whole mapping moves."""

    config: Path
    mapping: MappingName
    position: str
    shard: str | None
    is_after: bool

    def make(self, *, is_sure: bool, is_for_program: bool) -> None:
        """Show the move, ask the person unless `is_sure`, and let the daemon make the move."""
        shown = self._ask_daemon(only_shows=True)
        what = self.mapping if shown["shard"] is None else f"{self.mapping}, {shown['shard']}"
        lines = [f"now: {shown['before']}", f"{what} would continue {shown['position']}.", shown["effect"]]
        typer.echo("\n".join(lines), err=is_for_program)
        confirm(is_sure=is_sure, is_for_program=is_for_program)
        made = self._ask_daemon(version=shown["version"])
        if not is_for_program:
            typer.echo("Done; the mapping begins there when it is resumed.")
            return
        position = given(self.position, is_of_shard=made["shard"] is not None, is_after=self.is_after, now=time.time())
        print_json({"mapping": self.mapping, "shard": made["shard"], "position": for_programs(position)})

    def _ask_daemon(self, **more: object) -> dict[str, Any]:
        body = {
            "mapping": self.mapping,
            "position": self.position,
            "shard": self.shard,
            "after": self.is_after,
            "settings": str(self.config.absolute()),
            **more,
        }
        status, answer = asked(socket_of(self.config), "POST", "/api/position", body)
        if status != 200:
            raise refused(str(answer.get("error")), code=1)
        return answer


def confirm(*, is_sure: bool, is_for_program: bool) -> None:
    """Ask the person unless `is_sure`. Ends the program if the answer is no."""
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise refused("nothing was changed: standard input is not a terminal; use --yes", code=1)
    if not typer.confirm("Is that what you want?", err=is_for_program):
        raise refused("nothing was changed", code=1)
