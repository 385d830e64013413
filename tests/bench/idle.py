"""What does an idle daemon cost? Twenty mappings on empty queues for a minute: CPU, and receives for each mapping.

python tests/bench/idle.py [--mappings 20] [--seconds 60]
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.brokers import Canned, canned
from tests.bench.contenders import Case, daemon_settings, mapping_settings, poller_command, queue_arn
from tests.bench.processes import running

SETTLE_IN_SECONDS = 5.0


def main(
    mappings: Annotated[int, typer.Option(help="Idle mappings, each with a queue of its own.")] = 20,
    seconds: Annotated[float, typer.Option(help="How long to watch.")] = 60.0,
) -> None:
    """Watch the daemon do nothing."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="poller-bench-") as name, canned(Path(name)) as broker:
        settings = Path(name) / "poller.toml"
        settings.write_text(_settings(broker, mappings))
        with running(poller_command(settings), folder=Path(name), name="daemon") as child:
            _wait_for_polls(broker, mappings)
            time.sleep(SETTLE_IN_SECONDS)
            receives, cpu = _receives(broker), child.cpu_seconds()
            time.sleep(seconds)
            child.check()
            receives, cpu = _receives(broker) - receives, child.cpu_seconds() - cpu
            memory = child.memory()
    minutes = seconds / 60
    Console().print(
        f"{mappings} idle mappings for {seconds:.0f} s: "
        f"{cpu / minutes:.3f} CPU seconds a minute ({cpu / seconds:.2%} of one core), "
        f"{receives / mappings / minutes:.1f} receives a minute and mapping, {memory / 1e6:.0f} MB resident"
    )


def _settings(broker: Canned, mappings: int) -> str:
    case = Case(name="idle", title="idle")
    queues = [f"idle-{number}" for number in range(mappings)]
    return daemon_settings(case, broker) + "".join(mapping_settings(name, case, queue_arn(name)) for name in queues)


def _wait_for_polls(broker: Canned, mappings: int) -> None:
    """Until every mapping has asked its queue for messages."""
    deadline = time.monotonic() + 30
    while _receives(broker) < mappings:
        if time.monotonic() > deadline:
            raise TimeoutError("the daemon does not poll all its mappings")
        time.sleep(0.1)


def _receives(broker: Canned) -> int:
    return broker.report().calls.get("ReceiveMessage", 0)


if __name__ == "__main__":
    typer.run(main)
