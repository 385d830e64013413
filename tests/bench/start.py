"""What do the start and the stop of a daemon with many mappings cost? CPU and time, and the share of the settings.

python tests/bench/start.py [--mappings 1000]
python tests/bench/start.py --kind kinesis
python tests/bench/start.py --functions 1000

A mapping that is ready reads its source while the others start. AWS allows ten DescribeStream calls a second, so a
thousand DynamoDB streams take 100 seconds to start, and their reads take several times the CPU of the start itself.
So the streams take 8 seconds to answer a read while the mappings start. The CPU of the few reads that are left, and of
the renewals of leases, is measured in the same daemon after the start, and subtracted:

    CPU of the start = CPU until all mappings are ready - seconds in which mappings were ready * CPU of one in a second
"""

from __future__ import annotations

import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from poller.settings.loading import load
from tests.bench.brokers import ACCOUNT, CannedStream, Source, canned, canned_stream
from tests.bench.contenders import poller_command
from tests.bench.processes import Child, running

LONGEST_START_IN_SECONDS = 600.0
"""AWS allows ten DescribeStream calls a second, so a thousand DynamoDB mappings need at least 100 seconds."""
LOOKS_IN_SECONDS = 0.2
SETTLES_IN_SECONDS = 10.0
WATCHED_IN_SECONDS = 30.0
"""How long the daemon settles after its start, and how long it is watched then."""

SOURCES = {
    "sqs": f"arn:aws:sqs:us-east-1:{ACCOUNT}:queue-%d",
    "kinesis": f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/stream-%d",
    "dynamodb": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/table-%d/stream/2026-01-01T00:00:00.000",
}


def main(
    mappings: Annotated[int, typer.Option(help="Mappings, each with an empty source of its own.")] = 1000,
    functions: Annotated[int, typer.Option(help="Functions that the mappings share.")] = 10,
    kind: Annotated[Literal["sqs", "kinesis", "dynamodb"], typer.Option(help="The source of all mappings.")] = "sqs",
    read_seconds: Annotated[float, typer.Option(max=9.0, help="How long a read of a stream takes meanwhile.")] = 8.0,
) -> None:
    """Start the daemon once, and wait until it is ready."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="poller-bench-") as name:
        folder = Path(name)
        settings = folder / "poller.toml"
        with empty_sources(folder, kind) as (url, source):
            settings.write_text(settings_of(url, kind, mappings, functions))
            load(settings, {})  # the first time also imports and compiles
            began = time.process_time()
            load(settings, {})
            of_settings = time.process_time() - began
            ended_before, began = _cpu_of_ended_children(), time.monotonic()
            with running(poller_command(settings), folder=folder, name="daemon") as child:
                _slow_reads(source, read_seconds)
                looks = _wait_until_ready(child, folder / "daemon.log", mappings)
                seconds, cpu, reads = time.monotonic() - began, child.cpu_seconds(), _reads(source)
                of_ready = _mapping_seconds(looks) * _cpu_a_second(child) / mappings
                _slow_reads(source, 0.0)
                time.sleep(SETTLES_IN_SECONDS)
                memory = child.memory()
                cpu_at_stop, began = child.cpu_seconds(), time.monotonic()
            seconds_of_stop = time.monotonic() - began
            of_stop = _cpu_of_ended_children() - ended_before - cpu_at_stop
    Console().print(
        f"{mappings} mappings of {kind}, {functions} functions: ready after {seconds:.1f} s and {cpu:.2f} s of CPU, "
        f"{of_ready:.2f} s of these for mappings that were ready before the others ({reads} reads), so "
        f"{cpu - of_ready:.2f} s for the start, {of_settings:.2f} s of these for the settings; "
        f"{memory / 1e6:.0f} MB resident; stopped within {seconds_of_stop:.1f} s and {of_stop:.2f} s of CPU"
    )


def _cpu_of_ended_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reads(source: Source) -> int:
    calls = source.report().calls
    return calls.get("ReceiveMessage", 0) + calls.get("GetRecords", 0)


def _slow_reads(source: Source, seconds: float) -> None:
    if isinstance(source, CannedStream):
        source.slow_reads(seconds)


def _mapping_seconds(looks: Iterable[tuple[float, int]]) -> float:
    """Return for how many seconds mappings were ready, all together. A look has a time and how many were ready."""
    return sum((until - since) * ready for (since, ready), (until, _) in pairwise(looks))


def _cpu_a_second(child: Child) -> float:
    """Return the CPU seconds that the daemon takes in a second after its start."""
    time.sleep(SETTLES_IN_SECONDS)
    began, cpu = time.monotonic(), child.cpu_seconds()
    time.sleep(WATCHED_IN_SECONDS)
    return (child.cpu_seconds() - cpu) / (time.monotonic() - began)


@contextmanager
def empty_sources(folder: Path, kind: str) -> Iterator[tuple[str, Source]]:
    """A service whose queues or streams, by whatever name, are empty, and its url."""
    if kind == "sqs":
        with canned(folder) as broker:
            yield broker.sqs_endpoint, broker
    else:
        with canned_stream(folder, kind=kind, shards=1, records_in_a_read=100) as stream:
            yield stream.url, stream


def settings_of(endpoint: str, kind: str, mappings: int, functions: int) -> str:
    """Return the settings of a daemon whose mappings have a queue or a stream each."""
    data_key = {"sqs": "body", "kinesis": "data", "dynamodb": "dynamodb"}[kind]
    position = "" if kind == "sqs" else 'starting_position = "LATEST"\n'
    return "".join(
        (
            f'[daemon]\nregion = "us-east-1"\nendpoint_url = "{endpoint}"\nhttp_listen = "127.0.0.1:0"\n',
            *(f'[functions.f{number}]\nurl = "{endpoint}/function/{number}"\n' for number in range(functions)),
            *(
                f"[mappings.m{number}]\n"
                f'event_source_arn = "{SOURCES[kind] % number}"\n'
                f'function_name = "f{number % functions}"\n'
                f'filter_criteria.filters = [{{ pattern = {{ {data_key} = {{ kind = ["order"] }} }} }}]\n'
                f'function_response_types = ["ReportBatchItemFailures"]\n'
                f"{position}"
                for number in range(mappings)
            ),
        )
    )


def _wait_until_ready(child: Child, log: Path, mappings: int) -> list[tuple[float, int]]:
    """Return each look at the log: its time, and how many mappings were ready.

    A look at /readyz would cost as much as the start of ten mappings.
    """
    looks, deadline = list[tuple[float, int]](), time.monotonic() + LONGEST_START_IN_SECONDS
    while True:
        looks.append((time.monotonic(), log.read_text().count('"event":"mapping_ready"')))
        if looks[-1][1] >= mappings:
            return looks
        child.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the daemon is not ready: {child.last_words()}")
        time.sleep(LOOKS_IN_SECONDS)


if __name__ == "__main__":
    typer.run(main)
