from __future__ import annotations

import pytest

from poller.core.streams.stream_end import why_nothing_comes
from poller.model.arn import Arn

ORDERS = Arn.parse("arn:aws:dynamodb:eu-west-1:123456789012:table/orders/stream/2026-01-01T00:00:00.000")
CLICKS = Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks")


@pytest.mark.parametrize("status", ["ENABLED", "ENABLING", None, "ANYTHING"])
def test_a_stream_that_is_not_switched_off_and_has_a_shard_to_read_goes_on(status: str | None) -> None:
    assert why_nothing_comes(ORDERS, status, is_drained=False) is None


@pytest.mark.parametrize("status", ["DISABLING", "DISABLED"])
@pytest.mark.parametrize("is_drained", [False, True])
def test_a_stream_that_its_table_has_switched_off_names_the_tables_latest_stream(status: str, is_drained: bool) -> None:
    reason = why_nothing_comes(ORDERS, status, is_drained=is_drained)
    assert reason is not None
    assert reason.startswith(f"the stream is {status}")
    assert "set event_source_arn to the table's LatestStreamArn" in reason
    assert "describe-table --table-name orders" in reason


def test_a_stream_whose_shards_are_all_drained_has_ended() -> None:
    reason = why_nothing_comes(ORDERS, "ENABLED", is_drained=True)
    assert reason is not None
    assert "LatestStreamArn" in reason
    reason = why_nothing_comes(CLICKS, None, is_drained=True)
    assert reason is not None
    assert "poller state set" in reason
