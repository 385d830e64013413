"""How does `poller state set` move positions while a daemon runs? It asks the daemon.

    the daemon ── what would the move do? ──> shown to the person ── yes ──> the daemon makes the move, and logs it

The mapping must be paused. If its positions have changed since they were shown, the daemon refuses the move.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import typer

from poller.cli.as_json import print_json
from poller.cli.daemon import asked, meant
from poller.cli.ending import refused
from poller.core.streams.written_positions import NoPosition, for_programs, given
from poller.model.ids import MappingName
from poller.model.mapping import StreamMapping


def is_run_by(socket: Path, mapping: MappingName) -> bool:
    """Return whether the daemon runs the mapping: it has loaded the mapping, which is not disabled."""
    status, report = asked(socket, "GET", "/api/status")
    if status != 200:
        raise refused(str(report.get("error")), code=1)
    entry = report["mappings"].get(mapping)
    return entry is not None and entry["state"] != "disabled"


class MoveByDaemon(NamedTuple):
    """A move that a person asked for. `shard` is None if the whole mapping moves.

    `socket` is the daemon's control socket, and `config` the settings file that the person means.
    """

    socket: Path
    config: Path
    mapping: StreamMapping
    position: str
    shard: str | None
    is_after: bool

    def make(self, *, is_sure: bool, is_for_program: bool) -> None:
        """Show the move, ask the person unless `is_sure`, and let the daemon make the move."""
        name = self.mapping.name
        self._refuse_wrong_position()
        self._refuse_another_stream()
        shown = self._ask_daemon(only_shows=True)
        what = name if shown["shard"] is None else f"{name}, {shown['shard']}"
        lines = [f"now: {shown['before']}", f"{what} would continue {shown['position']}.", shown["effect"]]
        typer.echo("\n".join(lines), err=is_for_program)
        confirm(is_sure=is_sure, is_for_program=is_for_program)
        made = self._ask_daemon(version=shown["version"])
        if not is_for_program:
            typer.echo("Done; the mapping begins there when it is resumed.")
            return
        position = given(self.position, is_of_shard=made["shard"] is not None, is_after=self.is_after, now=time.time())
        print_json({"mapping": name, "shard": made["shard"], "position": for_programs(position)})

    def _refuse_wrong_position(self) -> None:
        try:
            given(self.position, is_of_shard=self.shard is not None, is_after=self.is_after, now=time.time())
        except NoPosition as error:
            raise refused(str(error), code=2) from None

    def _refuse_another_stream(self) -> None:
        """End the program if the daemon still reads another stream, because the file was changed since its reload."""
        name = self.mapping.name
        status, answer = asked(self.socket, "GET", f"/api/positions?{urlencode({'mapping': name})}")
        if status != 200:
            raise refused(str(answer.get("error")), code=1)
        if (theirs := answer["stream_arn"]) != self.mapping.state_key.stream_arn:
            why = f"the daemon still reads {theirs} for {name}, so reload its settings first"
            raise refused(f"nothing was changed: {why}", code=1)

    def _ask_daemon(self, **more: object) -> dict[str, Any]:
        body = {
            "mapping": self.mapping.name,
            "position": self.position,
            "shard": self.shard,
            "after": self.is_after,
            **meant(self.config),
            **more,
        }
        status, answer = asked(self.socket, "POST", "/api/position", body)
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
