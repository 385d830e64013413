"""How are the clicks of a stream counted? A handler to copy; it writes a line for each click that it sees.

    user-07 12 shardId-000000000002:4966…        the user, the click's number among the user's, and the event's id

A click that is no JSON raises, and so the whole batch comes again, or its halves do.
A click may therefore be seen twice, and a line be there twice; no click of a user is seen before its earlier ones.
Several processes write at once, each line in one piece, so the lines stand in the order of seeing.

Environment: CLICKS_FILE.
"""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any


def count_clicks(event: dict[str, Any], _context: object) -> None:
    """The handler: writes down every click of the batch, in order."""
    with Path(os.environ["CLICKS_FILE"]).open("ab", buffering=0) as file:
        for record in event["Records"]:
            click = json.loads(base64.b64decode(record["kinesis"]["data"]))
            file.write(f"{click['user']} {click['number']} {record['eventID']}\n".encode())
