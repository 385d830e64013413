from __future__ import annotations

import os
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from poller.errors import Rejected
from poller.model.ids import MappingName
from poller.model.lease import Owner, Row, RowKey
from poller.model.stream import (
    AfterSequence,
    AtSequence,
    AtTimestamp,
    Checkpoint,
    Position,
    SequenceNumber,
    ShardEnd,
    StateKey,
    TrimHorizon,
    Window,
)
from poller.stores.dynamodb_items import Item
from poller.stores.kcl_rows import Meaning, changed_item, is_lease, new_item, row_of

STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
OPENED_AT = 1_767_225_600.5
MEANING = Meaning(StateKey(MappingName("clicks"), STREAM), latest=OPENED_AT, at_timestamp=None)
NUMBER = SequenceNumber("49601189658422359378836298521827638475320189012309704722")
NEXT = SequenceNumber("49601189658422359378836298521827638475320189012309704730")
AT_START = Checkpoint(TrimHorizon())
ME = Owner(f"blue-1/{'0' * 32}")

PARENT: Item = {
    "leaseKey": {"S": "shardId-000000000000"},
    "leaseOwner": {"S": "ip-10-0-0-1:7a0f"},
    "leaseCounter": {"N": "1234"},
    "ownerSwitchesSinceCheckpoint": {"N": "0"},
    "checkpoint": {"S": "SHARD_END"},
    "checkpointSubSequenceNumber": {"N": "0"},
    "childShardIds": {"SS": ["shardId-000000000002", "shardId-000000000001"]},
    "startingHashKey": {"S": "0"},
    "endingHashKey": {"S": "340282366920938463463374607431768211455"},
}
CHILD: Item = {
    "leaseKey": {"S": "shardId-000000000001"},
    "leaseOwner": {"S": "ip-10-0-0-1:7a0f"},
    "leaseCounter": {"N": "57"},
    "ownerSwitchesSinceCheckpoint": {"N": "2"},
    "checkpoint": {"S": NUMBER},
    "checkpointSubSequenceNumber": {"N": "0"},
    "parentShardId": {"SS": ["shardId-000000000000"]},
    "startingHashKey": {"S": "0"},
    "endingHashKey": {"S": "170141183460469231731687303715884105727"},
    "throughputKBps": {"N": "12.5"},
    "pendingCheckpoint": {"S": NEXT},
    "pendingCheckpointSubSequenceNumber": {"N": "0"},
    "checkpointOwner": {"S": "ip-10-0-0-2:81bc"},
    "of another program": {"M": {}},
}


def child(**attributes: Any) -> Item:
    """Return the child with other attributes; None removes one."""
    return {name: value for name, value in {**CHILD, **attributes}.items() if value is not None}


def following(item: Item, **changes: Any) -> Row:
    row = row_of(item, MEANING)
    return replace(row, counter=row.counter + 1, **changes)


def test_a_lease_of_kcl_is_a_row_of_the_mapping() -> None:
    assert row_of(CHILD, MEANING) == Row(
        key=RowKey(f"clicks/{STREAM}/shardId-000000000001"),
        counter=58,
        owner=Owner("ip-10-0-0-1:7a0f"),
        checkpoint=Checkpoint(AfterSequence(NUMBER)),
        details={"parents": ["shardId-000000000000"]},
    )
    assert row_of(PARENT, MEANING) == Row(
        key=RowKey(f"clicks/{STREAM}/shardId-000000000000"),
        counter=1235,
        owner=Owner("ip-10-0-0-1:7a0f"),
        checkpoint=Checkpoint(ShardEnd()),
        details={"children": ["shardId-000000000001", "shardId-000000000002"]},
    )


@pytest.mark.parametrize(
    ("text", "subsequence", "at_timestamp", "position"),
    [
        ("TRIM_HORIZON", 0, None, TrimHorizon()),
        ("LATEST", 0, None, AtTimestamp(OPENED_AT)),
        ("AT_TIMESTAMP", 0, None, TrimHorizon()),
        ("AT_TIMESTAMP", 0, 12.5, AtTimestamp(12.5)),
        ("SHARD_END", 0, None, ShardEnd()),
        (NUMBER, 0, None, AfterSequence(NUMBER)),
        (NUMBER, 3, None, AtSequence(NUMBER)),
    ],
)
def test_every_checkpoint_of_kcl_is_a_position(
    text: str, subsequence: int, at_timestamp: float | None, position: Position
) -> None:
    item = child(checkpoint={"S": text}, checkpointSubSequenceNumber={"N": str(subsequence)})
    assert row_of(item, MEANING._replace(at_timestamp=at_timestamp)).checkpoint == Checkpoint(position)


def test_only_leases_are_leases() -> None:
    assert is_lease(CHILD)
    assert is_lease(child(entityType={"S": "LEASE"}))
    assert not is_lease(child(entityType={"S": "WORKER_METRICS"}))
    assert not is_lease(child(entityType={"N": "1"}))


OURS = {"pollerPosition": {"S": f"AFTER_SEQUENCE_NUMBER {NUMBER}"}}


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"leaseCounter": None}, "leaseCounter must be a whole number from 0"),
        ({"leaseCounter": {"S": "x"}}, "leaseCounter must be a whole number from 0"),
        ({"leaseCounter": {"N": "-1"}}, "leaseCounter must be a whole number from 0"),
        ({"leaseOwner": {"NULL": True}}, "leaseOwner must be a text"),
        ({"fencingToken": {"N": "-1"}}, "fencingToken must be a whole number from 0"),
        ({"ownerSwitchesSinceCheckpoint": {"S": "2"}}, "ownerSwitchesSinceCheckpoint must be a whole number from 0"),
        ({"checkpoint": None}, "checkpoint must be a text"),
        ({"checkpoint": {"S": "NOWHERE"}}, "checkpoint must be a sequence number, TRIM_HORIZON, "),
        ({"checkpoint": {"S": "-1"}}, "checkpoint must be a sequence number, TRIM_HORIZON, "),
        ({"checkpoint": {"S": "9" * 1000}}, "checkpoint must be a sequence number, TRIM_HORIZON, "),
        ({"checkpointSubSequenceNumber": {"N": "x"}}, "checkpointSubSequenceNumber must be a whole number from 0"),
        ({"pollerPosition": {"S": "nowhere"}}, "'nowhere' is not a position"),
        ({"pollerPosition": {"S": "LATEST"}, "checkpoint": {"S": "LATEST"}}, "LATEST is not a position that poller"),
        ({"pollerDetails": {"S": "[]"}}, "pollerDetails must be a JSON object"),
        ({"pollerDetails": {"S": "{"}}, "pollerDetails must be a JSON object"),
        ({"parentShardId": {"S": "shardId-000000000000"}}, "parentShardId must be a set of texts"),
        ({**OURS, "windowState": {"B": "AAAA"}}, "windowStart must be a whole number from 0"),
        ({**OURS, "windowEnd": {"N": "60"}}, "windowStart must be a whole number from 0"),
    ],
)
def test_an_item_that_is_no_lease_of_kcl_is_refused_with_the_rule(change: dict[str, Any], rule: str) -> None:
    with pytest.raises(Rejected) as error:
        row_of(child(**change), MEANING)
    assert str(error.value).startswith(f"the lease 'shardId-000000000001' cannot be read as one of KCL: {rule}")


def test_an_application_that_reads_several_streams_is_refused() -> None:
    key = "123456789012:clicks:1767225600:shardId-000000000001"
    with pytest.raises(Rejected, match="reads several streams") as error:
        row_of(child(leaseKey={"S": key}), MEANING)
    assert error.value.code == "SeveralStreams"


def test_a_renewal_changes_only_the_counter() -> None:
    assert changed_item(CHILD, following(CHILD), MEANING) == child(leaseCounter={"N": "58"})
    assert changed_item(PARENT, following(PARENT), MEANING)["leaseCounter"] == {"N": "1235"}


def test_a_take_counts_the_switch_of_the_owner_and_ends_a_hand_over_of_kcl() -> None:
    assert changed_item(CHILD, following(CHILD, owner=ME, token=59), MEANING) == child(
        leaseCounter={"N": "58"},
        leaseOwner={"S": ME},
        fencingToken={"N": "59"},
        ownerSwitchesSinceCheckpoint={"N": "3"},
        checkpointOwner=None,
    )


def test_a_lease_that_is_given_away_has_no_owner_and_counts_no_switch() -> None:
    given = changed_item(CHILD, following(CHILD, owner=None), MEANING)
    assert given == child(leaseCounter={"N": "58"}, leaseOwner=None, checkpointOwner=None)
    taken = changed_item(given, following(given, owner=ME, token=60), MEANING)
    assert taken["ownerSwitchesSinceCheckpoint"] == {"N": "2"}


def test_a_checkpoint_ends_a_pending_one_and_the_count_of_switches() -> None:
    assert changed_item(CHILD, following(CHILD, checkpoint=Checkpoint(AfterSequence(NEXT))), MEANING) == child(
        leaseCounter={"N": "58"},
        checkpoint={"S": NEXT},
        pollerPosition={"S": f"AFTER_SEQUENCE_NUMBER {NEXT}"},
        ownerSwitchesSinceCheckpoint={"N": "0"},
        pendingCheckpoint=None,
        pendingCheckpointSubSequenceNumber=None,
    )


@pytest.mark.parametrize(
    ("text", "subsequence"), [("LATEST", 0), ("AT_TIMESTAMP", 0), ("TRIM_HORIZON", 0), (NUMBER, 3), ("SHARD_END", 0)]
)
def test_a_checkpoint_of_kcl_stays_as_kcl_wrote_it_until_there_is_a_new_one(text: str, subsequence: int) -> None:
    item = child(checkpoint={"S": text}, checkpointSubSequenceNumber={"N": str(subsequence)})
    after = changed_item(item, following(item, owner=ME, token=59), MEANING)
    for name in ("checkpoint", "checkpointSubSequenceNumber", "pendingCheckpoint"):
        assert after[name] == item[name]


def test_the_time_that_stands_for_latest_stays_the_same_at_later_starts() -> None:
    item = child(checkpoint={"S": "LATEST"})
    taken = changed_item(item, following(item, owner=ME, token=59), MEANING)
    later = MEANING._replace(latest=OPENED_AT + 1000)
    assert row_of(taken, later).checkpoint == Checkpoint(AtTimestamp(OPENED_AT))
    renewed = changed_item(taken, replace(row_of(taken, later), counter=60), later)
    assert row_of(renewed, later).checkpoint == Checkpoint(AtTimestamp(OPENED_AT))


@pytest.mark.parametrize("position", [TrimHorizon(), AtTimestamp(12.5), AfterSequence(NUMBER), ShardEnd()])
@pytest.mark.parametrize("window", [None, Window(0, 60, b'{"sum": 7}')])
def test_a_position_and_a_window_that_we_store_are_read_again(position: Position, window: Window | None) -> None:
    item = child(checkpoint={"S": "TRIM_HORIZON"})
    checkpoint = Checkpoint(position, window)
    after = changed_item(item, following(item, checkpoint=checkpoint), MEANING)
    assert row_of(after, MEANING).checkpoint == checkpoint
    renewed = changed_item(after, following(after), MEANING)
    assert renewed == {**after, "leaseCounter": {"N": "59"}}


def test_a_window_ends_with_the_next_checkpoint_without_one() -> None:
    item = child()
    with_window = changed_item(
        item, following(item, checkpoint=Checkpoint(AfterSequence(NEXT), Window(0, 60, b"{}"))), MEANING
    )
    without = changed_item(with_window, following(with_window, checkpoint=Checkpoint(AfterSequence(NEXT))), MEANING)
    assert without.keys() == with_window.keys() - {"windowStart", "windowEnd", "windowState"}


@pytest.mark.parametrize(
    "of_kcl",
    [{"checkpoint": {"S": NEXT}}, {"checkpointSubSequenceNumber": {"N": "2"}}, {"checkpoint": {"S": "SHARD_END"}}],
)
def test_our_position_and_window_do_not_count_once_kcl_has_moved_on(of_kcl: Item) -> None:
    item = child()
    ours = changed_item(
        item, following(item, checkpoint=Checkpoint(AfterSequence(NUMBER), Window(0, 60, b"{}"))), MEANING
    )
    moved = {**ours, **of_kcl}
    plain = {name: value for name, value in moved.items() if not name.startswith(("poller", "window"))}
    assert row_of(moved, MEANING).checkpoint == row_of(plain, MEANING).checkpoint


def test_a_position_that_kcl_cannot_continue_from_is_refused() -> None:
    with pytest.raises(Rejected, match="cannot continue with the record") as error:
        changed_item(CHILD, following(CHILD, checkpoint=Checkpoint(AtSequence(NEXT))), MEANING)
    assert error.value.code == "NotInKcl"


def test_an_item_larger_than_dynamodb_accepts_is_refused() -> None:
    window = Window(0, 60, b'"' + b64encode(os.urandom(600 * 1024)) + b'"')
    row = following(CHILD, checkpoint=Checkpoint(AfterSequence(NEXT), window))
    too_large = "the state of its tumbling window is too large"
    with pytest.raises(Rejected, match=too_large):
        changed_item(CHILD, row, MEANING)
    with pytest.raises(Rejected, match=too_large):
        new_item(row, MEANING)


def test_details_that_kcl_does_not_know_have_an_attribute_of_their_own() -> None:
    details: dict[str, Any] = {"since": 1, "blocked": {"attempts": 3}, "parents": ["shardId-000000000000"]}
    after = changed_item(CHILD, following(CHILD, details=details), MEANING)
    assert after["pollerDetails"] == {"S": '{"since":1,"blocked":{"attempts":3}}'}
    assert after["parentShardId"] == CHILD["parentShardId"]
    assert row_of(after, MEANING).details == details
    gone = changed_item(after, following(after, details={}), MEANING)
    assert gone.keys() & {"pollerDetails", "parentShardId"} == set()


def test_a_worker_of_kcl_does_not_get_the_time_since_when_a_worker_of_poller_has_read() -> None:
    details: dict[str, Any] = {"read_since": 5.0, "saved_at": 6.0}
    ours = changed_item(child(parentShardId=None), following(CHILD, owner=ME, details=details), MEANING)
    assert row_of(ours, MEANING).details == details
    stolen = {**ours, "leaseOwner": {"S": "kcl-thief:1"}}
    assert row_of(stolen, MEANING).details == {"saved_at": 6.0}


def test_once_kcl_has_moved_on_the_parents_that_were_not_listed_are_like_any_others() -> None:
    details: dict[str, Any] = {"unlisted_parents": ["shardId-000000000000"], "parents": ["shardId-000000000000"]}
    new = new_item(Row(key=MEANING.row_key("shardId-000000000002"), checkpoint=AT_START, details=details), MEANING)
    assert row_of(new, MEANING).details == details
    assert row_of({**new, "leaseOwner": {"S": "kcl:1"}}, MEANING).details == details
    moved = {**new, "checkpoint": {"S": NEXT}}
    assert row_of(moved, MEANING).details == {"parents": ["shardId-000000000000"]}


def test_a_new_lease_is_one_that_kcl_can_read() -> None:
    row = Row(
        key=RowKey(f"clicks/{STREAM}/shardId-000000000002"),
        checkpoint=Checkpoint(TrimHorizon()),
        details={"parents": ["shardId-000000000000"], "children": []},
    )
    assert new_item(row, MEANING) == {
        "leaseKey": {"S": "shardId-000000000002"},
        "leaseCounter": {"N": "0"},
        "ownerSwitchesSinceCheckpoint": {"N": "0"},
        "checkpoint": {"S": "TRIM_HORIZON"},
        "checkpointSubSequenceNumber": {"N": "0"},
        "pollerPosition": {"S": "TRIM_HORIZON"},
        "parentShardId": {"SS": ["shardId-000000000000"]},
    }
    owned = replace(row, owner=ME, token=1)
    assert row_of(new_item(owned, MEANING), MEANING) == replace(owned, details={"parents": ["shardId-000000000000"]})


def test_only_shards_of_the_mapping_have_leases_in_the_table() -> None:
    for key in (f":worker/{ME}", f"users/{STREAM}/shardId-000000000000", "clicks/other/shardId-000000000000"):
        with pytest.raises(AssertionError, match="is not of this mapping"):
            MEANING.shard_id(RowKey(key))


def test_a_lease_of_kcl_never_has_no_checkpoint() -> None:
    with pytest.raises(AssertionError, match="has a checkpoint"):
        new_item(Row(key=RowKey(f"clicks/{STREAM}/shardId-000000000002")), MEANING)
    with pytest.raises(AssertionError, match="has a checkpoint"):
        changed_item(CHILD, following(CHILD, checkpoint=None), MEANING)
