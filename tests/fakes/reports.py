"""Which fakes replace the topics and buckets of destinations? Services in memory, with the APIs of SNS and S3.

    POST / Action=Publish&TopicArn=…&Message=…    adds a message to an existing topic
    PUT /BUCKET/KEY                               adds an object to an existing bucket

Simpler than AWS: a topic has no subscribers and keeps its messages, and an object has no versions.

Sources: Amazon SNS API Reference, "Publish"; Amazon S3 API Reference, "PutObject" and "Error responses".
"""

from __future__ import annotations

from urllib.parse import unquote

from tests.fakes.http_server import Reply, Request

XML = {"Content-Type": "text/xml"}


class FakeReports:
    """`topics` has the messages by topic ARN, and `buckets` has the objects by bucket name and key."""

    def __init__(self) -> None:
        self.topics: dict[str, list[str]] = {}
        self.buckets: dict[str, dict[str, Request]] = {}

    def publish(self, topic_arn: str, message: str) -> Reply:
        if topic_arn not in self.topics:
            return query_error(404, "NotFound", "Topic does not exist")
        self.topics[topic_arn].append(message)
        return query_answer("Publish", "<MessageId>1</MessageId>")

    def put_object(self, request: Request) -> Reply:
        bucket, _, key = unquote(request.target.partition("?")[0]).removeprefix("/").partition("/")
        if bucket not in self.buckets:
            body = b"<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>"
            return Reply(status=404, headers=XML, body=body)
        self.buckets[bucket][key] = request
        return Reply(headers={"ETag": '"0"'})


def query_answer(operation: str, result: str) -> Reply:
    """Return an answer of a service with the query protocol."""
    text = f"<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>"
    return Reply(headers=XML, body=text.encode())


def query_error(status: int, code: str, message: str) -> Reply:
    text = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    return Reply(status=status, headers=XML, body=text.encode())
