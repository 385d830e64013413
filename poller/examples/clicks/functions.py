"""How does a function handle the records of a Kinesis stream? This one writes a line for each click that it sees:

    user-07 12 shardId-000000000002:4966…        the user, the number of the click, and the `eventID` of its record

If a click is not JSON, the handler raises an error. Then the whole batch is retried, or each half of it.
So a click may have two lines. For each user, the first lines of the clicks are in the order of the clicks.
Several processes write at once. Each line is one write, so the lines are in the order in which the clicks were seen.

Environment variable: CLICKS_FILE, the file that it writes.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any


def count_clicks(event: dict[str, Any], _context: object) -> None:
    """The handler: write a line for each click of the batch, in order."""
    with Path(os.environ["CLICKS_FILE"]).open("ab", buffering=0) as file:
        for record in event["Records"]:
            click = json.loads(base64.b64decode(record["kinesis"]["data"]))
            file.write(f"{click['user']} {click['number']} {record['eventID']}\n".encode())
