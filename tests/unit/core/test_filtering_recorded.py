"""Do filters match as recorded on real event source mappings of AWS?

Each row of the tables: the pattern, a record that reaches the function, a record that does not (None where every
recorded one does, or none).  Rows for SQS give the message's body, rows for DynamoDB the stream record.
"""

from __future__ import annotations

from typing import Any

import pytest

from poller.core.filtering import InvalidPattern, compile_filters

SQS = [
    ('{"body": {"my-key": ["my-value"]}}', '{"my-key": "my-value"}', '{"my-key": "other-value"}'),
    ('{"body": {"my-key": ["my-value"]}}', '{"my-key": "my-value"}', "plain-string"),
    (
        '{"body": {"my-key": ["my-value-one", "my-value-two"]}}',
        '{"my-key": "my-value-two"}',
        '{"my-key": "other-value"}',
    ),
    (
        '{"body": {"my-key-one": ["other-filter", "my-value-one"], "my-key-two": ["my-value-two"]}}',
        '{"my-key-one": "my-value-one", "my-key-two": "my-value-two"}',
        '{"my-key-one": "other-value-", "my-key-two": "my-value-two"}',
    ),
    ('{"body": {"my-key": [{"exists": true}]}}', '{"my-key": "x"}', '{"other-key": "y"}'),
    ('{"body": {"my-number": [{"numeric": [">", 100]}]}}', '{"my-number": 101}', '{"my-number": 100}'),
    ('{"body": {"my-number": [{"numeric": ["<", 100]}]}}', '{"my-number": 99}', '{"my-number": 100}'),
    ('{"body": {"my-number": [{"numeric": [">=", 100, "<", 200]}]}}', '{"my-number": 100}', '{"my-number": 200}'),
    ('{"body": {"my-key": [{"prefix": "yes"}]}}', '{"my-key": "yes-value"}', '{"my-key": "no-value"}'),
]


def change(name: str = "INSERT", **image: Any) -> dict[str, Any]:
    return {
        "eventID": "f07f8ca4b0b26cb9c4e5e77e69f274ee",
        "eventName": name,
        "dynamodb": {"ApproximateCreationDateTime": 1480642020.0, "Keys": {"id": {"S": "a"}}, "NewImage": image},
    }


PRESENT = change(presentKey={"S": "presentValue"})
DYNAMODB = [
    ('{"eventName": ["INSERT"]}', change("INSERT"), change("MODIFY")),
    ('{"eventName": ["INSERT", "MODIFY"]}', change("MODIFY"), change("REMOVE")),
    ('{"dynamodb": {"NewImage": {"presentKey": {"S": ["presentValue"]}}}}', PRESENT, change()),
    ('{"dynamodb": {"NewImage": {"presentKey": ["presentValue"]}}}', None, PRESENT),
    ('{"dynamodb": {"NewImage": {"presentKey": [{"exists": true}]}}}', None, PRESENT),
    ('{"dynamodb": {"NewImage": {"presentKey": [{"exists": false}]}}}', PRESENT, None),
    ('{"dynamodb": {"NewImage": {"presentKey": [{"exists": false}]}}}', change(), None),
    (
        '{"dynamodb": {"NewImage": {"n": {"N": [{"numeric": [">", 100]}, {"anything-but": "101"}]}}}}',
        change(n={"N": "42"}),
        change(n={"N": "101"}),
    ),
    (
        '{"dynamodb": {"NewImage": {"prefix": {"S": [{"prefix": "us-1"}]}}}}',
        change(prefix={"S": "us-1-other-suffix"}),
        change(prefix={"S": "other-suffix"}),
    ),
    ('{"dynamodb": {"ApproximateCreationDateTime": [{"numeric": [">", 0]}]}}', change(), None),
]

REFUSED = [
    "null",
    '"simple string"',
    '{"eventSource": "aws:sqs"}',
    '{"eventSource": []}',
    '{"body": ',
    "[]",
    "{'a': [1]}",
]


@pytest.mark.parametrize(("pattern", "matching", "other"), SQS)
def test_a_message_is_filtered_as_recorded(pattern: str, matching: str, other: str) -> None:
    compiled = compile_filters([pattern], data_key="body")
    assert compiled.matches({"messageId": "1", "body": matching})
    assert not compiled.matches({"messageId": "2", "body": other})


@pytest.mark.parametrize(("pattern", "matching", "other"), DYNAMODB)
def test_a_dynamodb_record_is_filtered_as_recorded(
    pattern: str, matching: dict[str, Any] | None, other: dict[str, Any] | None
) -> None:
    compiled = compile_filters([pattern], data_key="dynamodb")
    assert matching is None or compiled.matches(matching)
    assert other is None or not compiled.matches(other)


@pytest.mark.parametrize("pattern", REFUSED)
def test_a_pattern_is_refused_as_recorded(pattern: str) -> None:
    with pytest.raises(InvalidPattern, match=r"^Invalid filter pattern definition\."):
        compile_filters([pattern], data_key="body")
