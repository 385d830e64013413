"""What do the start and the stop of a daemon with many mappings cost? CPU and time, and the share of the settings.

python tests/bench/start.py [--mappings 1000]
python tests/bench/start.py --kind kinesis
python tests/bench/start.py --functions 1000
"""

from __future__ import annotations

import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parents[2]))

from poller.settings.loading import load
from tests.bench.brokers import ACCOUNT, Source, canned, canned_stream
from tests.bench.contenders import poller_command
from tests.bench.processes import Child, running

LONGEST_START_IN_SECONDS = 600.0
"""AWS allows ten DescribeStream calls a second, so a thousand DynamoDB mappings need at least 100 seconds."""
LOOKS_IN_SECONDS = 0.2
READS_WATCHED_IN_SECONDS = 5.0
SOURCES = {
    "sqs": f"arn:aws:sqs:us-east-1:{ACCOUNT}:queue-%d",
    "kinesis": f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/stream-%d",
    "dynamodb": f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/table-%d/stream/2026-01-01T00:00:00.000",
}


def main(
    mappings: Annotated[int, typer.Option(help="Mappings, each with an empty source of its own.")] = 1000,
    functions: Annotated[int, typer.Option(help="Functions that the mappings share.")] = 10,
    kind: Annotated[Literal["sqs", "kinesis", "dynamodb"], typer.Option(help="The source of all mappings.")] = "sqs",
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
                _wait_until_ready(child, folder / "daemon.log", mappings)
                seconds, cpu, memory = time.monotonic() - began, child.cpu_seconds(), child.memory()
                reads = _reads(source)
                of_reads = reads * _cpu_of_a_read(child, source)
                cpu_at_stop, began = child.cpu_seconds(), time.monotonic()
            seconds_of_stop = time.monotonic() - began
            of_stop = _cpu_of_ended_children() - ended_before - cpu_at_stop
    Console().print(
        f"{mappings} mappings of {kind}, {functions} functions: ready after {seconds:.1f} s and {cpu:.2f} s of CPU, "
        f"{of_settings:.2f} s of these for the settings and some {of_reads:.2f} s for the {reads} reads by then; "
        f"{memory / 1e6:.0f} MB resident; stopped within {seconds_of_stop:.1f} s and {of_stop:.2f} s of CPU"
    )


def _cpu_of_ended_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _reads(source: Source) -> int:
    calls = source.report().calls
    return calls.get("ReceiveMessage", 0) + calls.get("GetRecords", 0)


def _cpu_of_a_read(child: Child, source: Source) -> float:
    """CPU seconds, by the reads of some seconds in which the daemon does nothing else."""
    cpu, reads = child.cpu_seconds(), _reads(source)
    time.sleep(READS_WATCHED_IN_SECONDS)
    return (child.cpu_seconds() - cpu) / max(1, _reads(source) - reads)


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


def _wait_until_ready(child: Child, log: Path, mappings: int) -> None:
    """By the log: a look at /readyz costs as much as the start of ten mappings."""
    deadline = time.monotonic() + LONGEST_START_IN_SECONDS
    while log.read_text().count('"event":"mapping_ready"') < mappings:
        child.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the daemon is not ready: {child.last_words()}")
        time.sleep(LOOKS_IN_SECONDS)


if __name__ == "__main__":
    typer.run(main)
