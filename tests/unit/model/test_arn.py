"""What is derived from an ARN?"""

from __future__ import annotations

import pytest

from poller.model.arn import Arn, queue_url, stream_arn

ORDERS = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:orders")


@pytest.mark.parametrize(
    "endpoint_url", ["https://sqs.eu-west-1.amazonaws.com", "https://sqs.eu-west-1.amazonaws.com/"]
)
def test_a_queues_url_is_made_from_endpoint_account_and_name(endpoint_url: str) -> None:
    assert queue_url(endpoint_url, ORDERS) == "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"


@pytest.mark.parametrize(
    ("event_source", "stream"),
    [
        ("kinesis:eu-west-1:123456789012:stream/clicks", "kinesis:eu-west-1:123456789012:stream/clicks"),
        ("kinesis:eu-west-1:123456789012:stream/c/consumer/x:1", "kinesis:eu-west-1:123456789012:stream/c"),
        ("dynamodb:eu-west-1:1:table/consumer/stream/2026", "dynamodb:eu-west-1:1:table/consumer/stream/2026"),
    ],
)
def test_the_stream_of_a_consumer_is_the_one_that_is_read(event_source: str, stream: str) -> None:
    assert stream_arn(Arn.parse(f"arn:aws:{event_source}")) == f"arn:aws:{stream}"
