"""What do the functions of the event tests do? `consume` notes each attempt, and fails if the event says so.

The ledger gets a line when an attempt begins. This module imports little, because child processes load it.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any


def consume(event: dict[str, Any], context: Any) -> dict[str, Any]:
    note(context.aws_request_id, os.environ["LIFE"])
    time.sleep(0.002)
    if event["fails"]:
        raise ValueError("by plan")
    return {"number": event["number"]}


def note(request_id: str, life: str) -> None:
    """Write a line with one call of write, so that lines of several processes do not mix."""
    ledger = os.open(os.environ["LEDGER"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(ledger, json.dumps([request_id, int(life)]).encode() + b"\n")
    finally:
        os.close(ledger)
