"""How does a function store the messages of a queue, and another one send a mail for each new row of the table?

`insert_records` is for standard and for FIFO queues.
It needs `function_response_types = ["ReportBatchItemFailures"]`, and answers with the records to be delivered again:

    standard queue   each record that failed
    FIFO queue       each record that failed, and all later records of its message group, because the queue deletes
                     what the answer does not name; on the last attempt the failed record alone

After the last attempt, the failed record goes to the dead-letter queue. If the answer also named the later records,
they would use up their attempts together with the failed record, and would go to the dead-letter queue with it.
A message may come twice. If a user is stored again, only `times_stored` of the user's row changes.
If the table fails, the handler raises an error, and the whole batch is delivered again.

`send_email` is for the table's stream. It needs a filter for `times_stored` 1, so that a user who is stored again gets
no second mail. It writes mails into a folder instead of sending them; writing a mail again replaces the first one.

Environment variables: USERS_TABLE (a table with the keys `queue` and `email`), COMPANIES_TABLE (with the keys `queue`
and `company`), MAX_RECEIVES (the `maxReceiveCount` of the queues' redrive policy), and MAIL_FOLDER.

Source: AWS Lambda Developer Guide, "Handling errors for an SQS event source in Lambda".
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import botocore.session

Record = dict[str, Any]


def insert_records(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """The handler: store every record of the batch, and answer with those that must be delivered again."""
    return {"batchItemFailures": failures(event["Records"], store, max_receives=int(os.environ["MAX_RECEIVES"]))}


def send_email(event: dict[str, Any], _context: object) -> None:
    """The handler: write a mail for each record of the table's stream."""
    for record in event["Records"]:
        user = record["dynamodb"]["NewImage"]
        deliver(welcome(user["name"]["S"], user["email"]["S"], record["eventID"]))


def failures(records: Sequence[Record], process: Callable[[Record], None], *, max_receives: int) -> list[Record]:
    """Process each record alone, in order, and return the batch item failures.

    If `process` raises ValueError, the record has failed. Any other error fails the whole batch.
    """
    failed: list[Record] = []
    waiting_groups: set[str] = set()
    for record in records:
        group = message_group(record)
        if group not in waiting_groups:
            try:
                process(record)
                continue
            except ValueError as error:
                print(f"message {record['messageId']} failed: {error}")
            if group is not None and attempt(record) < max_receives:
                waiting_groups.add(group)
        failed.append({"itemIdentifier": record["messageId"]})
    return failed


def message_group(record: Record) -> str | None:
    """Return the record's message group, or None on a standard queue, which promises no order within a group."""
    is_fifo = record["eventSourceARN"].endswith(".fifo")
    return str(record["attributes"]["MessageGroupId"]) if is_fifo else None


def attempt(record: Record) -> int:
    """Return the number of the attempt: how often the queue has delivered the record, including this time."""
    return int(record["attributes"]["ApproximateReceiveCount"])


def store(record: Record) -> None:
    """Store one sign-up. `place` is the user's position in the order of storing within the company, from 1.

    Storing a user again keeps the user's `place`, but uses up a number, so the places may have gaps.
    """
    user = json.loads(record["body"])
    check(user["email"], attempt(record))
    queue = {"S": record["eventSourceARN"].rpartition(":")[2]}
    counted = dynamodb().update_item(
        TableName=os.environ["COMPANIES_TABLE"],
        Key={"queue": queue, "company": {"S": user["company"]}},
        UpdateExpression="ADD users_stored :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="UPDATED_NEW",
    )
    dynamodb().update_item(
        TableName=os.environ["USERS_TABLE"],
        Key={"queue": queue, "email": {"S": user["email"]}},
        UpdateExpression="SET #name = :name, company = :company, csv_row = :row,"
        " place = if_not_exists(place, :place) ADD times_stored :one",
        ExpressionAttributeNames={"#name": "name"},
        ExpressionAttributeValues={
            ":name": {"S": user["name"]},
            ":company": {"S": user["company"]},
            ":row": {"N": str(user["row"])},
            ":place": counted["Attributes"]["users_stored"],
            ":one": {"N": "1"},
        },
    )


def check(email: str, attempt: int) -> None:
    """Raise ValueError if the address has no "@". Raise it on the first attempt, too, if the server is "grey.…".

    The "grey." server is an example of a failure that passes: a server with greylisting refuses an unknown sender once.
    """
    _, at, server = email.partition("@")
    if not at:
        raise ValueError("no email address")
    if server.startswith("grey.") and attempt == 1:
        raise ValueError("the server of this address asks for another attempt")


def welcome(name: str, email: str, event_id: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "welcome@poller.example"
    mail["To"] = email
    mail["Subject"] = f"Welcome, {name}"
    mail["Message-ID"] = f"<{event_id}@poller.example>"
    mail.set_content(f"Dear {name},\n\nyour account is ready.\n")
    return mail


def deliver(mail: EmailMessage) -> None:
    """Write the mail into the folder, under the address of its receiver. The file appears complete or not at all."""
    file = Path(os.environ["MAIL_FOLDER"], f"{quote(mail['To'], safe='@')}.eml")
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(bytes(mail))
    unfinished.replace(file)


@functools.cache
def dynamodb() -> Any:
    """Return the one client of this process. It calls AWS, or AWS_ENDPOINT_URL if that is set."""
    return botocore.session.get_session().create_client("dynamodb")
