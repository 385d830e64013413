"""What follows from an ARN?"""

from __future__ import annotations

import pytest

from poller.model.arn import Arn, queue_url

ORDERS = Arn.parse("arn:aws:sqs:eu-west-1:123456789012:orders")


@pytest.mark.parametrize(
    "endpoint_url", ["https://sqs.eu-west-1.amazonaws.com", "https://sqs.eu-west-1.amazonaws.com/"]
)
def test_a_queues_url_is_made_from_endpoint_account_and_name(endpoint_url: str) -> None:
    assert queue_url(endpoint_url, ORDERS) == "https://sqs.eu-west-1.amazonaws.com/123456789012/orders"
