"""How do sign-ups get from a queue into a table, and how is each new user welcomed? Two handlers to copy.

`insert_records` is good for standard and for FIFO queues.
It wants `function_response_types = ["ReportBatchItemFailures"]`, and answers with the records that failed:

    standard queue   a record that fails is named, the others go on
    FIFO queue       a record that fails is named with all later ones of its message group, because what is not named
                     is deleted; only on its last attempt it is named alone, and its group goes on without it

The last attempt matters: who is named is received again and counted again, so that after `maxReceiveCount` attempts
the healthy records behind a bad one would follow it into the dead-letter queue.
A message may come twice, so storing one again changes nothing but `times_stored`.
A fault of the table itself (not of a record) is raised, and the whole batch comes again.

`send_email` reads the table's stream, and wants a filter for `times_stored` 1: what is stored again is no new user.
A folder stands for the mail server; a mail that is written again replaces the first.

Environment: USERS_TABLE (keys `queue` and `email`), COMPANIES_TABLE (keys `queue` and `company`), MAX_RECEIVES, the
`maxReceiveCount` of the queues' redrive policy, and MAIL_FOLDER.

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
    """The handler: stores every record of the batch, and answers with those that must come again."""
    return {"batchItemFailures": failures(event["Records"], store, max_receives=int(os.environ["MAX_RECEIVES"]))}


def send_email(event: dict[str, Any], _context: object) -> None:
    """The handler: writes a mail for every new image of a user."""
    for record in event["Records"]:
        user = record["dynamodb"]["NewImage"]
        deliver(welcome(user["name"]["S"], user["email"]["S"], record["eventID"]))


def failures(records: Sequence[Record], process: Callable[[Record], None], *, max_receives: int) -> list[Record]:
    """Process each record alone, in order; a ValueError is the record's own fault. Returns the batch item failures."""
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
    """The group whose order is to be kept; on a standard queue there is none, even if the message names a group."""
    is_fifo = record["eventSourceARN"].endswith(".fifo")
    return str(record["attributes"]["MessageGroupId"]) if is_fifo else None


def attempt(record: Record) -> int:
    """How often the record was received, this time included."""
    return int(record["attributes"]["ApproximateReceiveCount"])


def store(record: Record) -> None:
    """Store one sign-up; `place` tells which of its company's users it was, in the order of storing."""
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
    """Raises ValueError for what is no address, and for one whose server cannot tell yet.

    The second stands for any trouble that passes: a server that puts strangers off once ("greylisting").
    """
    _, at, server = email.partition("@")
    if not at:
        raise ValueError("no email address")
    if server.startswith("grey.") and attempt == 1:
        raise ValueError("the server of this address asks to come again")


def welcome(name: str, email: str, event_id: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = "welcome@poller.example"
    mail["To"] = email
    mail["Subject"] = f"Welcome, {name}"
    mail["Message-ID"] = f"<{event_id}@poller.example>"
    mail.set_content(f"Dear {name},\n\nyour account is ready.\n")
    return mail


def deliver(mail: EmailMessage) -> None:
    """Put it into the folder, named after whom it is for; it appears there whole or not at all."""
    file = Path(os.environ["MAIL_FOLDER"], f"{quote(mail['To'], safe='@')}.eml")
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(bytes(mail))
    unfinished.replace(file)


@functools.cache
def dynamodb() -> Any:
    """One client for the life of the process: at AWS, or where AWS_ENDPOINT_URL says."""
    return botocore.session.get_session().create_client("dynamodb")
