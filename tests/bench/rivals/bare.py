"""The floor: receive -> invoke -> delete in one thread, over blocking sockets. What can Python do at best?

One message after the other is received, parsed, put into an event and deleted, with signed requests. Nothing else is
done: no concurrency, no filter, no visibility, no second try, no metrics, no log.
So this is no contender. It shows how much of the daemon's cost is the cost of the calls themselves.
"""

from __future__ import annotations

import argparse
from typing import Any

import orjson

from tests.bench.rivals.blocking import Blocking


def main(options: argparse.Namespace) -> None:
    queue = Blocking(f"{options.sqs_endpoint}/", service="sqs")
    if options.url:
        function = Blocking(options.url, service=None)
    else:
        path = f"/2015-03-31/functions/{options.function}/invocations"
        function = Blocking(f"{options.lambda_endpoint}{path}", service="lambda")
    receive = {
        "QueueUrl": options.queue_url,
        "MaxNumberOfMessages": 10,
        "WaitTimeSeconds": 20,
        "MessageSystemAttributeNames": ["All"],
        "MessageAttributeNames": ["All"],
    }
    while True:
        messages = queue.call("AmazonSQS", "ReceiveMessage", receive).get("Messages")
        if not messages:
            continue
        event = orjson.dumps({"Records": [record(message, options.queue_arn) for message in messages]})
        answer = orjson.loads(function.post({"content-type": "application/json"}, event))
        failed = {failure["itemIdentifier"] for failure in answer.get("batchItemFailures", [])}
        done = [message for message in messages if message["MessageId"] not in failed]
        entries = [{"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]} for index, each in enumerate(done)]
        queue.call("AmazonSQS", "DeleteMessageBatch", {"QueueUrl": options.queue_url, "Entries": entries})


def record(message: dict[str, Any], queue_arn: str) -> dict[str, Any]:
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message["Attributes"],
        "messageAttributes": {
            name: {
                "stringValue": value.get("StringValue"),
                "stringListValues": [],
                "binaryListValues": [],
                "dataType": value["DataType"],
            }
            for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": "us-east-1",
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sqs-endpoint", required=True)
    parser.add_argument("--queue-url", required=True)
    parser.add_argument("--queue-arn", required=True)
    parser.add_argument("--lambda-endpoint", required=True)
    parser.add_argument("--function", default="f")
    parser.add_argument("--url", help="an HTTP service to call in place of Lambda")
    main(parser.parse_args())
