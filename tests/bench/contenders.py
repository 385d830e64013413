"""Which programs are compared, and how is each one started? This daemon, and programs that a user could choose instead.

A contender gives the command for a case, or says that it cannot do the case.
All contenders run ten batches at once and poll for twenty seconds.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.bench.brokers import ACCOUNT, Broker

CONCURRENCY = 10
CACHE = Path.home() / ".cache" / "poller-bench"
BENCH = Path(__file__).parent

_NEEDED_FROM_NPM = ("sqs-consumer", "fauxqs", "@aws-sdk/client-sqs", "@aws-sdk/client-lambda")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case of the comparison: the queue, the kind of function, and the batches.

    `window` is in seconds. `share` is the part of the usual backlog that the queue can hold.
    `concurrency` is how many batches the contender handles at once.
    """

    name: str
    title: str
    queue_name: str = "orders"
    queue: Literal["canned", "fauxqs"] = "canned"
    target: Literal["lambda", "http"] = "lambda"
    groups: int = 0
    batch_size: int = 10
    window: int = 0
    share: float = 1.0
    concurrency: int = CONCURRENCY


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that is compared.

    `command` writes its files into a folder and returns the command, or None if it cannot do the case.
    """

    name: str
    command: Callable[[Case, Broker, Path], list[str] | None]
    needs_node: bool = False


class NodeMissingError(Exception):
    """Raised if node or npm is missing, with which the contenders from npm run."""


def daemon_command(case: Case, broker: Broker, folder: Path) -> list[str] | None:
    settings = folder / "poller.toml"
    settings.write_text(settings_file(case, broker))
    return poller_command(settings)


def poller_command(settings: Path) -> list[str]:
    return [sys.executable, "-m", "poller", "run", "-c", str(settings)]


def plain_command(case: Case, broker: Broker, folder: Path) -> list[str] | None:
    sizes = ["--batch-size", str(case.batch_size), "--window", str(case.window)]
    return [sys.executable, str(BENCH / "rivals" / "plain.py"), *_rival_options(case, broker), *sizes]


def consumer_command(case: Case, broker: Broker, folder: Path) -> list[str] | None:
    if case.batch_size > 10:
        return None
    return ["node", str(CACHE / "consumer.mjs"), *_rival_options(case, broker)]


def bare_command(case: Case, broker: Broker, folder: Path) -> list[str] | None:
    if case.batch_size > 10:
        return None
    return [sys.executable, "-m", "tests.bench.rivals.bare", *_rival_options(case, broker)]


DAEMON = Contender("poller", daemon_command)
FLOOR = Contender("bare loop", bare_command)
RIVALS = (
    FLOOR,
    Contender("plain loop", plain_command),
    Contender("sqs-consumer", consumer_command, needs_node=True),
)


def settings_file(case: Case, broker: Broker) -> str:
    """Return the daemon's settings for a case."""
    return daemon_settings(case, broker) + mapping_settings("m", case, queue_arn(broker.queue_name))


def daemon_settings(case: Case, broker: Broker) -> str:
    """Return the settings of the daemon and of the function `f`."""
    function = f'url = "{function_url(broker)}"' if case.target == "http" else f'arn = "{FUNCTION_ARN}"'
    return f"""\
[daemon]
region = "us-east-1"
endpoint_url = "{broker.sqs_endpoint}"
endpoints = {{ lambda = "{broker.function_endpoint}" }}
http_listen = "127.0.0.1:{free_port()}"
log_format = "json"

[functions.f]
{function}
"""


def mapping_settings(name: str, case: Case, source: str) -> str:
    """Return the settings of a mapping in which every option that costs time is on."""
    return f"""
[mappings.{name}]
event_source_arn = "{source}"
function_name = "f"
batch_size = {case.batch_size}
maximum_batching_window_in_seconds = {case.window}
function_response_types = ["ReportBatchItemFailures"]
scaling_config = {{ maximum_concurrency = {case.concurrency} }}
filter_criteria.filters = [{{ pattern = {{ body = {{ kind = ["order"] }} }} }}]
"""


FUNCTION_ARN = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:f"


def queue_arn(queue_name: str) -> str:
    return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{queue_name}"


def function_url(broker: Broker) -> str:
    return f"{broker.function_endpoint}/function"


def fauxqs_command() -> list[str]:
    return ["node", str(CACHE / "fauxqs.mjs")]


def install_from_npm(tell: Callable[[str], None]) -> None:
    """Install the contenders from npm into the cache folder, if they are missing. Raises NodeMissingError."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise NodeMissingError(
            "node and npm are not installed: sqs-consumer and fauxqs cannot run (node 20 or newer is needed)"
        )
    CACHE.mkdir(parents=True, exist_ok=True)
    wanted = (BENCH / "rivals" / "package.json").read_bytes()
    manifest = CACHE / "package.json"
    is_there = all((CACHE / "node_modules" / name).is_dir() for name in _NEEDED_FROM_NPM)
    if not is_there or not manifest.exists() or manifest.read_bytes() != wanted:
        tell(f"installing {', '.join(_NEEDED_FROM_NPM)} into {CACHE}")
        manifest.write_bytes(wanted)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=CACHE, check=True)
    for script in (BENCH / "rivals" / "consumer.mjs", BENCH / "servers" / "fauxqs.mjs"):
        shutil.copyfile(script, CACHE / script.name)  # node looks for packages beside the script


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _rival_options(case: Case, broker: Broker) -> list[str]:
    options = ["--sqs-endpoint", broker.sqs_endpoint, "--lambda-endpoint", broker.function_endpoint]
    options += [
        "--queue-url",
        f"{broker.sqs_endpoint}/{ACCOUNT}/{broker.queue_name}",
        "--queue-arn",
        queue_arn(broker.queue_name),
    ]
    return options + (["--url", function_url(broker)] if case.target == "http" else [])
