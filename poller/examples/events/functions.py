"""What does a function find in the event of each service? `describe` answers with a sentence or two about it.

    s3-put, s3-delete    an object of a bucket          Records[].s3
    dynamodb-update      changes of a table             Records[].dynamodb
    sns                  a message of a topic           Records[].Sns
    ses-receive          a mail that arrived            Records[].ses
    cloudwatch-logs      lines of a log                 awslogs.data: JSON in gzip in base64
    api-gateway          a request over HTTP            path, httpMethod, …; the answer is that of the request

Source: AWS Lambda Developer Guide, the chapters on these services.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any


def describe(event: dict[str, Any], _context: object) -> Any:
    """The handler: return a sentence for each record, or the answer to a request of API Gateway."""
    if "awslogs" in event:
        return log_lines(event["awslogs"]["data"])
    if "httpMethod" in event:
        name = (event.get("queryStringParameters") or {}).get("name", "stranger")
        return {"statusCode": 200, "headers": {"Content-Type": "text/plain"}, "body": f"Hello {name}"}
    return [describe_record(record) for record in event["Records"]]


def describe_record(record: dict[str, Any]) -> str:
    match record:
        case {"s3": {"bucket": bucket, "object": item}, "eventName": name}:
            return f"{name} {item['key']} in {bucket['name']}"
        case {"dynamodb": change, "eventName": name}:
            return f"{name} {change['Keys']['Id']['N']}"
        case {"Sns": {"Subject": subject, "Message": message}}:
            return f"{subject}: {message}"
        case {"ses": {"mail": {"commonHeaders": headers}}}:
            return f"{headers['subject']} from {headers['from'][0]}"
    raise ValueError(f"a record of {record.get('eventSource', 'an unknown service')}")


def log_lines(data: str) -> list[str]:
    """Return the lines that CloudWatch Logs sent."""
    group = json.loads(gzip.decompress(base64.b64decode(data)))
    return [entry["message"] for entry in group["logEvents"]]
