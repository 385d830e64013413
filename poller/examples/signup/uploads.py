"""How does a function turn an uploaded CSV into messages? It sends each row of the file to the queues, in tens.

`process_csv` gets the notification that S3 sends when an object is created, as AWS Lambda's functions do.
A file without the columns of a sign-up raises ValueError before anything is sent, so a retry sends no row twice.
If a queue does not accept a row, the handler raises an error, too. Then a retry sends the rows again, and the FIFO
queue drops the rows that it already has, by their deduplication ids.

Environment variables: QUEUE_URLS (separated by spaces).

Source: Amazon S3 User Guide, "Event message structure"; SQS API reference, "SendMessageBatch".
"""

from __future__ import annotations

import csv
import functools
import json
import os
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_plus

import botocore.session

COLUMNS = {"row", "kind", "name", "email", "company"}

ROWS_PER_CALL = 10
"""The largest number of messages in one SendMessageBatch. Source: SQS API reference."""


def process_csv(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The handler: send the rows of each uploaded file, and return how many rows were sent to each queue."""
    rows = [row for record in event["Records"] for row in uploaded_rows(record["s3"])]
    for url in os.environ["QUEUE_URLS"].split():
        for start in range(0, len(rows), ROWS_PER_CALL):
            send(url, rows[start : start + ROWS_PER_CALL])
    return {"rows": len(rows)}


def uploaded_rows(upload: dict[str, Any]) -> list[dict[str, str]]:
    """Return the rows of an uploaded file. S3 writes the key of an object as a browser writes a form."""
    bucket, key = upload["bucket"]["name"], unquote_plus(upload["object"]["key"])
    text = client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    return rows_of(text, name=key)


def rows_of(text: str, *, name: str) -> list[dict[str, str]]:
    """Return the rows of a CSV. Raise ValueError, with the file's name, if a column is missing."""
    reader = csv.DictReader(text.splitlines())
    missing = COLUMNS - set(reader.fieldnames or ())
    if missing:
        raise ValueError(f"{name} has no column {', '.join(sorted(missing))}")
    return list(reader)


def send(url: str, rows: Sequence[dict[str, str]]) -> None:
    """Send up to ten rows to a queue. Raise RuntimeError if the queue does not accept all of them."""
    answer = client("sqs").send_message_batch(QueueUrl=url, Entries=[entry(url, row) for row in rows])
    if answer.get("Failed"):
        raise RuntimeError(f"the queue did not accept {len(answer['Failed'])} of {len(rows)} rows")


def entry(url: str, row: dict[str, str]) -> dict[str, str]:
    """Return the message of a row. On a FIFO queue its group is the company, whose rows keep their order."""
    message = {"Id": row["row"], "MessageBody": json.dumps({**row, "row": int(row["row"])})}
    if url.endswith(".fifo"):
        message |= {"MessageGroupId": row["company"], "MessageDeduplicationId": row["row"]}
    return message


@functools.cache
def client(service: str) -> Any:
    """Return the one client of a service in this process. It calls AWS, or AWS_ENDPOINT_URL if that is set."""
    return botocore.session.get_session().create_client(service)
