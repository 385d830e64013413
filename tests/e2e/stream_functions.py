"""What does a function of the stream tests do? It notes each call, fails with poison records, and sometimes at random.

The ledger gets a line when a call begins and, before the daemon gets the answer, a line when it has succeeded.
`tests/e2e/kill_history.py` reads the ledger. This module imports little, because child processes load it.
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
from typing import Any, Literal

FAILURE_RATE = 0.02
LONGEST_CALL_IN_SECONDS = 0.01


def consume(event: dict[str, Any], context: Any) -> None:
    numbers = [sequence_number(record) for record in event["Records"]]
    note("began", context.function_name, os.environ["LIFE"], numbers)
    time.sleep(random.uniform(0, LONGEST_CALL_IN_SECONDS))
    if is_failing(event["Records"]):
        raise ValueError("by plan")
    note("ended", context.function_name, os.environ["LIFE"], numbers)


def note(what: Literal["began", "ended"], function: str, life: str, numbers: list[str]) -> None:
    """Write a line with one call of write, so that lines of several processes do not mix."""
    entry = json.dumps([what, time.monotonic(), function, int(life), numbers])
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, entry.encode() + b"\n")
    finally:
        os.close(ledger)


def is_failing(records: list[dict[str, Any]]) -> bool:
    return random.random() < FAILURE_RATE or any(kind(record) == "poison" for record in records)


def sequence_number(record: dict[str, Any]) -> str:
    return str(record["kinesis"]["sequenceNumber"] if "kinesis" in record else record["dynamodb"]["SequenceNumber"])


def kind(record: dict[str, Any]) -> str:
    if "kinesis" in record:
        return str(json.loads(base64.b64decode(record["kinesis"]["data"]))["kind"])
    return str(record["dynamodb"]["NewImage"]["kind"]["S"])
