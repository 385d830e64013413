"""Which programs read streams in the comparison, and how is each one started?

This daemon, and others that a user could choose.

A contender gives the command for a case, or says that it cannot do the case.
All contenders invoke a Lambda function with up to a hundred records at a time.
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
    """One case of the comparison: the number of records in a turn, of shards, and of records in a read.

    With a filter, every record is parsed, and all of them match. `paced` is the number of records in the paced phase.
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
    """A program that is compared. `command` writes its files into a folder and returns the command.

    The command is None if the contender cannot do the case.
    The contender goes on for `settle_in_seconds` after its turn before it is stopped.
    """

    name: str
    command: Callable[[StreamCase, CannedStream, Path], list[str] | None]
    settle_in_seconds: float = 0.0


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


DAEMON = StreamContender("poller", daemon_command, settle_in_seconds=2.0)
"""It stores its last positions while it settles. It loses its leases while it is stopped, and takes them in the
warm-up of its next turn."""

FLOOR = StreamContender("bare loop", bare_command)
RIVALS = (
    FLOOR,
    StreamContender("plain loop", plain_command),
    StreamContender("async-kinesis", async_kinesis_command),
)


def settings_file(case: StreamCase, stream: CannedStream, folder: Path) -> str:
    """Return the daemon's settings for a case: every option that costs time is on, and the state is in a file."""
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
    """Install the contender into the cache folder if it is missing. It uses the aiobotocore of this environment."""
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
