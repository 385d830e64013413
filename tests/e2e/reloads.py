"""For how long do reloads delay the messages of a mapping that they do not touch? A measurement, by hand.

    .venv/bin/python tests/e2e/reloads.py --mappings 1000 --reloads 20

The daemon runs as a process. One queue gets a steady load, and the time from each send to its invocation is measured.
Each reload replaces another mapping. The file also has many disabled mappings, which make it long.
Turns with and without reloads alternate, because other programs on the machine delay messages, too.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import quantiles
from typing import Annotated

import anyio
import orjson
import typer

sys.path.insert(0, str(Path(__file__).parents[2]))

from poller.model.invocation import Invocation, Response
from tests.e2e.harness import Daemon, World, world
from tests.fakes.queue import FakeQueue
from tests.fakes.target import FakeTarget, FunctionPlan

FUNCTION = "arn:aws:lambda:eu-west-1:123456789012:function:bill"
SENDS_A_SECOND = 100
SECONDS_BETWEEN_RELOADS = 0.5


class Timed(FakeTarget):
    """Notes for each message how many seconds after its send it is invoked. The body is the time of the send."""

    def __init__(self) -> None:
        super().__init__(FunctionPlan(duration_in_seconds=(0, 0)))
        self.seconds: list[float] = []

    async def invoke(self, invocation: Invocation) -> Response:
        now = time.monotonic()
        self.seconds += [now - float(record["body"]) for record in orjson.loads(invocation.payload)["Records"]]
        return await super().invoke(invocation)


def main(
    mappings: Annotated[int, typer.Option(help="How many disabled mappings the file has.")] = 1000,
    reloads: Annotated[int, typer.Option(help="How many reloads each turn has.")] = 20,
    turns: Annotated[int, typer.Option(help="How many turns with reloads, and as many without.")] = 2,
) -> None:
    """Print the delays of messages with and without reloads."""
    anyio.run(_measure, mappings, reloads, turns)


async def _measure(mappings: int, reloads: int, turns: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with world(Path(folder)) as around:
            function = around.aws.functions[FUNCTION] = Timed()
            kept, changed = around.queue("kept"), around.queue("changed")
            disabled = "".join(_mapping(f"disabled-{n}", f"{kept.arn}-{n}", "enabled = false") for n in range(mappings))

            def text(number: int) -> str:
                limit = f"scaling_config.maximum_concurrency = {2 + number % 2}"
                return _mapping("kept", str(kept.arn)) + _mapping("changed", str(changed.arn), limit) + disabled

            async with around.daemon(text(0)) as daemon:
                await daemon.until_logged("mapping_ready", mapping="kept")
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_send, around, kept)
                    for with_reloads in (False, True) * turns:
                        function.seconds.clear()
                        for _ in range(reloads):
                            if with_reloads:
                                await _reload(around, daemon, text(len(daemon.logged("reloaded")) + 1))
                            await anyio.sleep(SECONDS_BETWEEN_RELOADS)
                        _show("reloads" if with_reloads else "quiet", function.seconds)
                    tasks.cancel_scope.cancel()
                await daemon.stop()


async def _send(around: World, queue: FakeQueue) -> None:
    while True:
        around.send(queue, str(time.monotonic()))
        await anyio.sleep(1 / SENDS_A_SECOND)


async def _reload(around: World, daemon: Daemon, text: str) -> None:
    around.write(text)
    before = len(daemon.logged("reloaded"))
    daemon.signal(signal.SIGHUP)
    await around.watch.until(partial(_has_reloaded, daemon, before + 1))


def _has_reloaded(daemon: Daemon, times: int) -> bool:
    return len(daemon.logged("reloaded")) >= times


def _mapping(name: str, arn: str, *options: str) -> str:
    lines = (f"[mappings.{name}]", f'event_source_arn = "{arn}"', f'function_name = "{FUNCTION}"', *options)
    return "\n".join(("", *lines, ""))


def _show(turn: str, seconds: list[float]) -> None:
    cuts = quantiles(seconds, n=100)
    print(
        f"{turn:8} {len(seconds):5,} messages   p50 {cuts[49] * 1e3:5.1f} ms   p99 {cuts[98] * 1e3:5.1f} ms   "
        f"longest {max(seconds) * 1e3:5.1f} ms"
    )


if __name__ == "__main__":
    typer.run(main)
