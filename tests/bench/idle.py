"""What does an idle daemon cost? Empty queues, or the quiet shards of a stream, for a minute: CPU, and calls.

python tests/bench/idle.py [--mappings 20] [--seconds 60]
python tests/bench/idle.py --streams 100 --kind kinesis    mappings with a stream of one shard each
python tests/bench/idle.py --shards 1000 --kind kinesis    one mapping
python tests/bench/idle.py --shards 1000 --kind dynamodb
python tests/bench/idle.py --shards 1000 --workers 2        what do the leases of several workers cost?
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.brokers import Canned, Source, canned, canned_stream
from tests.bench.contenders import Case, daemon_settings, mapping_settings, poller_command, queue_arn
from tests.bench.processes import running
from tests.bench.start import empty_sources, settings_of
from tests.bench.stream_contenders import Kind, StreamCase, daemon_command

SETTLE_IN_SECONDS = 5.0


class Idle(NamedTuple):
    """An idle daemon. `polled` is the number of its queues or shards, which it polls by calls of that name."""

    command: list[str]
    source: Source
    polled: int
    call: str
    title: str


def main(
    mappings: Annotated[int, typer.Option(help="Idle mappings, each with a queue of its own.")] = 20,
    shards: Annotated[int, typer.Option(help="Instead: one mapping of a stream with this many quiet shards.")] = 0,
    streams: Annotated[
        int, typer.Option(help="Instead: this many mappings, each with a stream of one quiet shard.")
    ] = 0,
    kind: Annotated[Kind, typer.Option(help="What kind of stream it is.")] = "kinesis",
    workers: Annotated[int, typer.Option(help="Processes of the daemon.")] = 1,
    seconds: Annotated[float, typer.Option(help="How long to watch.")] = 60.0,
) -> None:
    """Measure the daemon while it has nothing to do."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    Console().print(told(kind, mappings=mappings, shards=shards, streams=streams, workers=workers, seconds=seconds))


def told(
    kind: Kind, *, mappings: int = 0, shards: int = 0, streams: int = 0, workers: int = 1, seconds: float = 60.0
) -> str:
    """Watch an idle daemon, and return a sentence that says what it costs."""
    with tempfile.TemporaryDirectory(prefix="poller-bench-") as name:
        folder = Path(name)
        with (
            _quiet(folder, kind, mappings=mappings, shards=shards, streams=streams) as idle,
            running([*idle.command, "--workers", str(workers)], folder=folder, name="daemon") as child,
        ):
            _wait_for_polls(idle)
            time.sleep(SETTLE_IN_SECONDS)
            calls, cpu = _calls(idle), child.cpu_seconds()
            time.sleep(seconds)
            child.check()
            calls, cpu = _calls(idle) - calls, child.cpu_seconds() - cpu
            memory = child.memory()
    minutes = seconds / 60
    return (
        f"{idle.title}{f' and {workers} workers' if workers > 1 else ''} for {seconds:.0f} s: "
        f"{cpu / minutes:.3f} CPU seconds a minute ({cpu / seconds:.2%} of one core), "
        f"{calls / idle.polled / minutes:.1f} times {idle.call} a minute for each, "
        f"{memory / 1e6:.0f} MB resident"
    )


def _quiet(folder: Path, kind: Kind, *, mappings: int, shards: int, streams: int) -> AbstractContextManager[Idle]:
    if streams:
        return _quiet_streams(folder, kind, streams)
    return _quiet_shards(folder, kind, shards) if shards else _quiet_queues(folder, mappings)


@contextmanager
def _quiet_queues(folder: Path, count: int) -> Iterator[Idle]:
    with canned(folder) as broker:
        settings = folder / "poller.toml"
        settings.write_text(_settings(broker, count))
        yield Idle(poller_command(settings), broker, count, "ReceiveMessage", f"{count} idle mappings")


@contextmanager
def _quiet_shards(folder: Path, kind: Kind, count: int) -> Iterator[Idle]:
    case = StreamCase(name="idle", title="idle", kind=kind, shards=count, records_in_a_read=100, backlog=0)
    with canned_stream(folder, kind=kind, shards=count, records_in_a_read=100) as stream:
        command = daemon_command(case, stream, folder)
        assert command
        yield Idle(command, stream, count, "GetRecords", f"{count} idle shards of {kind}")


@contextmanager
def _quiet_streams(folder: Path, kind: Kind, count: int) -> Iterator[Idle]:
    with empty_sources(folder, kind) as (url, source):
        settings = folder / "poller.toml"
        settings.write_text(settings_of(url, kind, count, functions=1))
        yield Idle(poller_command(settings), source, count, "GetRecords", f"{count} idle streams of {kind}")


def _settings(broker: Canned, mappings: int) -> str:
    case = Case(name="idle", title="idle")
    queues = [f"idle-{number}" for number in range(mappings)]
    return daemon_settings(case, broker) + "".join(mapping_settings(name, case, queue_arn(name)) for name in queues)


def _wait_for_polls(idle: Idle) -> None:
    """Wait until every queue or shard was polled."""
    deadline = time.monotonic() + 30
    while _calls(idle) < idle.polled:
        if time.monotonic() > deadline:
            raise TimeoutError("the daemon does not poll everything")
        time.sleep(0.1)


def _calls(idle: Idle) -> int:
    return idle.source.report().calls.get(idle.call, 0)


if __name__ == "__main__":
    typer.run(main)
