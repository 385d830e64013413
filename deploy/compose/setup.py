"""Which resources do the demo's functions need? This script makes them in the emulator of compose.yaml.

    python setup.py http://emulator:4566

It also sends users and clicks. One of the clicks is no JSON, so the function never succeeds with it.
If it runs again, it keeps what is there, and sends once more.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import botocore.session
from botocore.exceptions import ClientError

USERS = CLICKS = 100
REGION = "us-east-1"

POISON = b"this click is no JSON"


def main(endpoint_url: str) -> None:
    def client(service: str) -> Any:
        return botocore.session.get_session().create_client(service, region_name=REGION, endpoint_url=endpoint_url)

    sqs, kinesis, dynamodb = client("sqs"), client("kinesis"), client("dynamodb")
    dead = sqs.create_queue(QueueName="signups-dead")["QueueUrl"]
    dead_arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": dead_arn, "maxReceiveCount": 3})
    signups = sqs.create_queue(QueueName="signups", Attributes={"RedrivePolicy": policy})["QueueUrl"]
    sqs.create_queue(QueueName="failures")
    for table, key in (("users", "email"), ("companies", "company")):
        make(
            dynamodb.create_table,
            TableName=table,
            KeySchema=[{"AttributeName": "queue", "KeyType": "HASH"}, {"AttributeName": key, "KeyType": "RANGE"}],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("queue", key)],
            BillingMode="PAY_PER_REQUEST",
        )
    make(kinesis.create_stream, StreamName="clicks", ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName="clicks")
    for number in range(USERS):
        user = {"name": f"User {number}", "email": f"user-{number}@example.com", "company": "example", "row": number}
        sqs.send_message(QueueUrl=signups, MessageBody=json.dumps(user))
    clicks = [json.dumps({"user": f"user-{number % 7:02}", "number": number}).encode() for number in range(CLICKS)]
    clicks.insert(CLICKS // 2, POISON)
    for number, click in enumerate(clicks):
        kinesis.put_record(StreamName="clicks", PartitionKey=f"user-{number % 7:02}", Data=click)


def make(create: Any, **parameters: Any) -> None:
    """Create a resource, unless it is there already."""
    try:
        create(**parameters)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUseException":
            raise


if __name__ == "__main__":
    main(sys.argv[1])
