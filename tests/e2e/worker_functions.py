"""What does a function of the workers' tests do? It notes each call, with the shard and the fencing token of the call.

The ledger gets a line when a call begins and, before the daemon gets the answer, a line when it has succeeded. Its
times are on a clock that all processes of the host share. This module imports little, because child processes load it.
"""

from __future__ import annotations

import json
import os
import random
import time
from typing import Any, Literal

LONGEST_CALL_IN_SECONDS = 0.15


def consume(event: dict[str, Any], context: Any) -> None:
    numbers = [record["kinesis"]["sequenceNumber"] for record in event["Records"]]
    note("began", context.client_context.custom, numbers)
    time.sleep(random.uniform(0, LONGEST_CALL_IN_SECONDS))
    note("ended", context.client_context.custom, numbers)


def note(what: Literal["began", "ended"], custom: dict[str, str], numbers: list[str]) -> None:
    """Write a line with one call of write, so that lines of several processes do not mix."""
    shard, token, worker = custom["shard_id"], int(custom["fencing_token"]), os.environ["WORKER"]
    entry = json.dumps([what, time.clock_gettime(time.CLOCK_MONOTONIC), worker, shard, token, numbers])
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, entry.encode() + b"\n")
    finally:
        os.close(ledger)
