from __future__ import annotations

import os
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given

from poller.errors import Rejected
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import AfterSequence, Checkpoint, SequenceNumber, ShardEnd, Window
from poller.stores.dynamodb_items import KEY
from poller.stores.dynamodb_rows import item_of, row_of, window_attributes
from tests.contracts.test_lease_store import some_rows

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
AT_RECORD = AfterSequence(SequenceNumber("49601189658422359378836298521827638475320189012309704722"))
LEASE = Row(
    key=RowKey(f"clicks/{STREAM}/shardId-000000000000"),
    counter=7,
    owner=Owner(f"blue-1/{'0' * 32}"),
    token=5,
    checkpoint=Checkpoint(AT_RECORD),
    details={"bytes_per_second": 12.5, "since": 1_700_000_000, "saved_at": 1_700_000_005},
)


def with_window(state: bytes) -> Row:
    return Row(key=LEASE.key, checkpoint=Checkpoint(ShardEnd(), Window(0, 60, state)))


def test_an_item_has_the_attributes_that_the_module_names() -> None:
    assert item_of(LEASE) == {
        "leaseKey": {"S": f"clicks/{STREAM}/shardId-000000000000"},
        "leaseCounter": {"N": "7"},
        "leaseOwner": {"S": f"blue-1/{'0' * 32}"},
        "fencingToken": {"N": "5"},
        "checkpoint": {"S": "AFTER_SEQUENCE_NUMBER 49601189658422359378836298521827638475320189012309704722"},
        "checkpointRank": {"S": "205649601189658422359378836298521827638475320189012309704722" + "1"},
        "details": {"S": '{"bytes_per_second":12.5,"since":1700000000,"saved_at":1700000005}'},
    }


def test_an_attribute_without_a_value_is_left_out() -> None:
    assert item_of(Row(key=RowKey("a"))).keys() == {"leaseKey", "leaseCounter", "fencingToken"}


@given(rows=some_rows)
def test_every_item_is_read_as_the_row_that_was_written(rows: list[Row]) -> None:
    for row in rows:
        assert row_of(item_of(row)) == row


def test_a_write_of_an_ordinary_lease_costs_one_unit() -> None:
    size = sum(len(name) + sum(map(len, value.values())) for name, value in item_of(LEASE).items())
    assert size < 700


def test_the_state_of_a_window_is_compressed_and_must_still_fit() -> None:
    row = with_window(b'"' + b"x" * 1024 * 1024 + b'"')
    assert row_of(item_of(row)) == row
    with pytest.raises(Rejected, match="the state of its tumbling window is too large") as error:
        item_of(with_window(b'"' + b64encode(os.urandom(600 * 1024)) + b'"'))
    assert error.value.code == "ItemTooLarge"
    assert "bytes, and an item of DynamoDB has at most 409600" in str(error.value)
    with pytest.raises(Rejected, match=r"has at most 409600$"):
        item_of(Row(key=LEASE.key, details={"": "ä" * 205_000}))


DAMAGED: dict[str, list[dict[str, Any]]] = {
    "leaseCounter must be a whole number from 1 to": [
        {"leaseCounter": None},
        {"leaseCounter": {"N": "x"}},
        {"leaseCounter": {"N": "1.5"}},
        {"leaseCounter": {"N": "0"}},
        {"leaseCounter": {"N": "-5"}},
        {"leaseCounter": {"N": "9" * 38}},
        {"leaseCounter": {"NS": ["7"]}},
    ],
    "fencingToken must be a whole number from 0 to": [
        {"fencingToken": None},
        {"fencingToken": {"N": "-1"}},
        {"fencingToken": {"N": "9" * 38}},
    ],
    "leaseOwner must be a text": [{"leaseOwner": {"N": "1"}}, {"leaseOwner": {"NULL": True}}],
    "checkpoint must be a text": [
        {"checkpoint": None},
        {"checkpoint": None, "checkpointRank": None, "windowEnd": {"N": "60"}},
        {"checkpoint": {"NULL": True}},
    ],
    "'nowhere' is not a position": [{"checkpoint": {"S": "nowhere"}}],
    "LATEST is not a checkpoint": [{"checkpoint": {"S": "LATEST"}}],
    "details must be a text": [{"details": {"SS": ["{}"]}}, {"details": {"NULL": True}}],
    "details must be a JSON object": [{"details": {"S": "{"}}, {"details": {"S": "[]"}}],
    "windowStart must be a whole number from 0 to": [
        {"windowStart": None},
        {"windowStart": {"N": "-60"}},
        {"windowStart": {"N": "253402300800"}},
    ],
    "windowEnd must be a whole number from 0 to": [{"windowEnd": None}, {"windowEnd": {"S": "60"}}],
    "windowState must be bytes that zlib has compressed": [
        {"windowState": None},
        {"windowState": {"B": "AAAA"}},
        {"windowState": {"B": "no base64!"}},
        {"windowState": {"S": "{}"}},
        {"windowState": {"B": {}}},
    ],
}


@pytest.mark.parametrize(("rule", "change"), [(rule, change) for rule, found in DAMAGED.items() for change in found])
def test_an_item_that_this_program_cannot_have_written_is_refused_with_the_rule(
    rule: str, change: dict[str, Any]
) -> None:
    whole = {**item_of(LEASE), **window_attributes(Window(0, 60, b"{}"))}
    assert row_of(whole).checkpoint == Checkpoint(AT_RECORD, Window(0, 60, b"{}"))
    item = {name: value for name, value in {**whole, **change}.items() if value is not None}
    with pytest.raises(Rejected) as error:
        row_of(item)
    assert error.value.code == "DamagedItem"
    assert str(error.value).startswith(f"the item {LEASE.key!r} was not written by poller: {rule}")


def test_the_error_of_a_strange_item_shows_no_more_than_the_beginning_of_its_key() -> None:
    with pytest.raises(Rejected) as error:
        row_of({KEY: {"S": "k" * 1000}})
    assert len(str(error.value)) < 400
