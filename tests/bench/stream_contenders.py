"""Who takes part with streams, and how is each started? This daemon and what a user would pick instead.

A contender gives the command that does a case's work, or says that it cannot.
All of them invoke a Lambda function with up to a hundred records at a time.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.bench.brokers import ACCOUNT, CannedStream
from tests.bench.contenders import BENCH, CACHE, FUNCTION_ARN, free_port, poller_command

BATCH_SIZE = 100
PACKAGES = CACHE / "python"

ASYNC_KINESIS = "async-kinesis==3.0.1"

Kind = Literal["kinesis", "dynamodb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCase:
    """What is to be done: so many records in a turn, over so many shards, as many in each read.

    With a filter, every record is looked into, and all of them match. `paced` are the records of the paced phase.
    """

    name: str
    title: str
    kind: Kind = "kinesis"
    shards: int
    records_in_a_read: int
    is_filtered: bool = False
    backlog: int
    paced: int = 0


@dataclass(frozen=True, slots=True)
class StreamContender:
    """`command` writes what it needs into the folder it is given; None means that it cannot do the case."""

    name: str
    command: Callable[[StreamCase, CannedStream, Path], list[str] | None]


def daemon_command(case: StreamCase, stream: CannedStream, folder: Path) -> list[str] | None:
    settings = folder / "poller.toml"
    settings.write_text(settings_file(case, stream, folder))
    return poller_command(settings)


def plain_command(case: StreamCase, stream: CannedStream, folder: Path) -> list[str] | None:
    script = str(BENCH / "rivals" / "plain_streams.py")
    return [sys.executable, script, "--kind", case.kind, *_rival_options(case, stream)]


def async_kinesis_command(case: StreamCase, stream: CannedStream, folder: Path) -> list[str] | None:
    if case.kind != "kinesis":
        return None
    script = str(BENCH / "rivals" / "async_kinesis.py")
    return [sys.executable, script, "--packages", str(PACKAGES), *_rival_options(case, stream)]


def bare_command(case: StreamCase, stream: CannedStream, folder: Path) -> list[str] | None:
    return [sys.executable, "-m", "tests.bench.rivals.bare_streams", "--kind", case.kind, *_rival_options(case, stream)]


DAEMON = StreamContender("poller", daemon_command)
FLOOR = StreamContender("bare loop", bare_command)
RIVALS = (
    FLOOR,
    StreamContender("plain loop", plain_command),
    StreamContender("async-kinesis", async_kinesis_command),
)


def settings_file(case: StreamCase, stream: CannedStream, folder: Path) -> str:
    """The daemon's settings for a case: a mapping with all that costs anything, its state in a file."""
    key = '{ data = { kind = ["click"] } }'
    if case.kind == "dynamodb":
        key = '{ dynamodb = { NewImage = { state = { S = ["open"] } } } }'
    return f"""\
[daemon]
region = "us-east-1"
endpoint_url = "{stream.url}"
state = "sqlite://{folder / "poller.db"}"
http_listen = "127.0.0.1:{free_port()}"
log_format = "json"

[functions.f]
arn = "{FUNCTION_ARN}"

[mappings.m]
event_source_arn = "{stream_arn(case.kind)}"
function_name = "f"
starting_position = "TRIM_HORIZON"
batch_size = {BATCH_SIZE}
function_response_types = ["ReportBatchItemFailures"]
maximum_retry_attempts = 3
bisect_batch_on_function_error = true
{f"filter_criteria.filters = [{{ pattern = {key} }}]" if case.is_filtered else ""}
"""


def stream_arn(kind: Kind) -> str:
    if kind == "kinesis":
        return f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/clicks"
    return f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/orders/stream/2026-01-01T00:00:00.000"


def install_from_pypi(tell: Callable[[str], None]) -> None:
    """Bring the rival into the cache folder if it is not there; it runs on the aiobotocore that is here."""
    mark = PACKAGES / "installed"
    if mark.exists() and mark.read_text() == ASYNC_KINESIS:
        return
    tell(f"installing {ASYNC_KINESIS} into {PACKAGES}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(PACKAGES)]
    subprocess.run([*pip, ASYNC_KINESIS], check=True)
    mark.write_text(ASYNC_KINESIS)


def _rival_options(case: StreamCase, stream: CannedStream) -> list[str]:
    options = ["--endpoint", stream.url, "--arn", stream_arn(case.kind), "--batch-size", str(BATCH_SIZE)]
    return options + (["--filter"] if case.is_filtered else [])
