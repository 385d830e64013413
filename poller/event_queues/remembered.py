"""Which SQS queues have, or had, the events of functions? The file of events remembers them in its table `sqs_queue`.

When the settings name another queue for a function, its events in the former queue are still handled. So the file keeps
the former queue until it is forgotten.
A queue has the events of one function only. So if a queue gets another function, the earlier function is forgotten.
"""

from __future__ import annotations

import sqlite3

from poller.model.arn import Arn
from poller.model.event import RememberedQueue
from poller.model.ids import FunctionName
from poller.sqlite.kind import DamagedRow

REMEMBER = "INSERT OR REPLACE INTO sqs_queue (arn, function) VALUES (?, ?)"

REMEMBERED = "SELECT arn, function FROM sqs_queue ORDER BY arn"

FORGET = "DELETE FROM sqs_queue WHERE arn = ? AND function = ?"


def remember(file: sqlite3.Connection, queue: RememberedQueue) -> None:
    file.execute(REMEMBER, (str(queue.arn), queue.function))


def remembered(file: sqlite3.Connection) -> list[RememberedQueue]:
    """Return all queues that are not forgotten. Raises DamagedRow if poller cannot have written a row."""
    return [_queue(*row) for row in file.execute(REMEMBERED).fetchall()]


def forget(file: sqlite3.Connection, arn: Arn, function: FunctionName) -> bool:
    """Forget the queue of a function. Return False if the function has no such queue."""
    return file.execute(FORGET, (str(arn), function)).rowcount == 1


def _queue(arn: str, function: str) -> RememberedQueue:
    try:
        return RememberedQueue(Arn.parse(arn), FunctionName(function))
    except ValueError as error:
        raise DamagedRow(f"the table sqs_queue has a row with {arn!r}, which is not an ARN") from error
