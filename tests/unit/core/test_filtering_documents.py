"""Does a pattern match the body, the data or the image as the tables of AWS's filtering pages say, for each source?"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from poller.core.filtering import InvalidPattern, compile_filters

PLAIN_PATTERN = '{"body": ["hello"]}'
OBJECT_PATTERN = '{"body": {"kind": ["hello"]}}'
METADATA_PATTERN = '{"eventSource": ["aws:sqs"]}'
OTHER_METADATA_PATTERN = '{"eventSource": ["aws:sns"]}'

# The message's body, the pattern, and whether the record matches.
SQS = [
    ("hello", PLAIN_PATTERN, True),
    ("good-bye", PLAIN_PATTERN, False),
    ("hello", METADATA_PATTERN, True),
    ("hello", OTHER_METADATA_PATTERN, False),
    ("hello", OBJECT_PATTERN, False),
    ('{"kind": "hello"}', PLAIN_PATTERN, False),
    ('{"kind": "hello"}', METADATA_PATTERN, True),
    ('{"kind": "hello"}', OTHER_METADATA_PATTERN, False),
    ('{"kind": "hello"}', OBJECT_PATTERN, True),
    ('{"kind": "good-bye"}', OBJECT_PATTERN, False),
    # An object is asked for: what could not be there does not help a plain string.
    ("hello", '{"body": {"kind": [{"exists": false}]}}', False),
    ("{}", '{"body": {"kind": [{"exists": false}]}}', True),
    ("[]", '{"body": {"kind": [{"exists": false}]}}', True),
    ('["x"]', '{"body": {"kind": [{"exists": false}]}}', True),
    # A plain string is asked for: all operators see the text as it is; JSON is dropped.
    ("hello", '{"body": [{"prefix": "he"}]}', True),
    ("hello", '{"body": [{"exists": true}]}', True),
    ("hello", '{"body": [{"exists": false}]}', False),
    ("hello", '{"body": [{"anything-but": "x"}]}', True),
    ('{"a": 1}', '{"body": [{"anything-but": "x"}]}', False),
    ('{"a": 1}', '{"body": [{"exists": false}]}', False),
    ('["hello"]', PLAIN_PATTERN, False),
    (" hello", PLAIN_PATTERN, False),
    ("", '{"body": [""]}', True),
    # Only objects and arrays are JSON, after blanks too; scalars are plain strings.
    ("123", '{"body": ["123"]}', True),
    ("123", '{"body": [123]}', False),
    ('"hello"', PLAIN_PATTERN, False),
    ('"hello"', '{"body": ["\\"hello\\""]}', True),
    ("null", '{"body": ["null"]}', True),
    ("123", OBJECT_PATTERN, False),
    (' \n\t\r{"kind": "hello"} ', OBJECT_PATTERN, True),
    ('[{"kind": "hello"}]', OBJECT_PATTERN, True),
    # Broken JSON is a plain string.
    ('{"kind": "hello"', OBJECT_PATTERN, False),
    ('{"kind": "hello"', '{"body": [{"prefix": "{"}]}', True),
    ('{"kind": "hello", "n": NaN}', OBJECT_PATTERN, False),
    ("{\ud800}", OBJECT_PATTERN, False),
    # JSON that orjson refuses is JSON all the same.
    ('{"kind": "hello", "n": 1e999}', OBJECT_PATTERN, True),
    ('{"kind": "hello", "n": "\\ud800"}', OBJECT_PATTERN, True),
    ('{"kind": "hello", "n": %s}' % ("1" * 5_000), OBJECT_PATTERN, True),
    ('{"kind": "good-bye", "kind": "hello"}', OBJECT_PATTERN, True),
    ('{"kind": "hello", "kind": "good-bye"}', OBJECT_PATTERN, False),
    # Both at once can never be.
    ("hello", '{"body": ["hello"], "body": {"kind": ["hello"]}}', False),
    ('{"kind": "hello"}', '{"body": ["hello"], "body": {"kind": ["hello"]}}', False),
]


@pytest.mark.parametrize(("body", "pattern", "expected"), SQS)
def test_a_body_is_matched_as_json_or_as_text(body: str, pattern: str, expected: bool) -> None:
    record = {"messageId": "1", "body": body, "eventSource": "aws:sqs"}
    assert compile_filters([pattern], data_key="body").matches(record) is expected


@pytest.mark.parametrize("field", ["messageId", "eventSource", "md5OfBody"])
def test_a_message_is_matched_by_its_own_fields(field: str) -> None:
    compiled = compile_filters([json.dumps({field: ["x"], "attributes": {"SenderId": ["me"]}})], data_key="body")
    assert compiled.matches({field: "x", "attributes": {"SenderId": "me"}, "body": "b"})
    assert not compiled.matches({field: "x", "attributes": {"SenderId": "you"}, "body": "b"})


@pytest.mark.parametrize("record", [{}, {"body": None}, {"body": 5}, {"body": b"{}"}, {"body": {"kind": "hello"}}])
@pytest.mark.parametrize("pattern", [OBJECT_PATTERN, PLAIN_PATTERN, '{"body": {"kind": [{"exists": false}]}}'])
def test_a_record_without_a_text_as_body_does_not_match(record: dict[str, Any], pattern: str) -> None:
    assert not compile_filters([pattern], data_key="body").matches(record)


@pytest.mark.parity("filters on metadata")
def test_metadata_and_body_must_both_match() -> None:
    compiled = compile_filters(['{"messageId": ["1"], "body": {"a": [1]}}'], data_key="body")
    assert compiled.matches({"messageId": "1", "body": '{"a": 1}'})
    assert not compiled.matches({"messageId": "2", "body": '{"a": 1}'})
    assert not compiled.matches({"messageId": "1", "body": '{"a": 2}'})


def deep(opening: str, closing: str, levels: int = 10_000, inside: str = "1") -> str:
    return opening * levels + inside + closing * levels


@pytest.mark.parametrize("body", [deep("[", "]"), deep('{"a":', "}"), deep('[{"a":', "}]"), deep('{"a":[', "]}")])
@pytest.mark.parametrize("pattern", [[1], [{"exists": False}], [12345678901234567890123]])
def test_a_body_too_deep_to_read_does_not_match_and_does_not_raise(body: str, pattern: list[Any]) -> None:
    compiled = compile_filters([json.dumps({"body": {"a": pattern}})], data_key="body")
    assert not compiled.matches({"body": body})


@pytest.mark.parametrize("levels", [900, 1_000, 1_020])
def test_a_body_as_deep_as_the_parser_reads_does_not_raise(levels: int) -> None:
    compiled = compile_filters(['{"body": {"a": {"b": [1]}, "c": [{"exists": false}]}}'], data_key="body")
    assert compiled.matches({"body": deep("[", "]", levels, '{"a": {"b": 1}}')})
    assert not compiled.matches({"body": deep("[", "]", levels, '{"a": {"b": 2}}')})
    assert not compiled.matches({"body": deep('{"a":', "}", levels)})


# Kinesis


def blob(data: bytes | str, **fields: Any) -> dict[str, Any]:
    raw = data.encode() if isinstance(data, str) else data
    kinesis = {"partitionKey": "pk", "sequenceNumber": "1", "data": b64encode(raw).decode(), **fields}
    return {"kinesis": kinesis, "eventID": "shardId-0:1", "eventSource": "aws:kinesis"}


DATA_PATTERN = '{"data": {"kind": ["hello"]}}'
KINESIS: list[tuple[bytes | str, str, bool]] = [
    ('{"kind": "hello"}', DATA_PATTERN, True),
    ('{"kind": "good-bye"}', DATA_PATTERN, False),
    ('{"kind": "hello"}', '{"partitionKey": ["pk"]}', True),
    ('{"kind": "hello"}', '{"partitionKey": ["other"]}', False),
    ("hello", DATA_PATTERN, False),
    ("hello", '{"data": {"kind": [{"exists": false}]}}', False),
    ("hello", '{"partitionKey": ["pk"]}', True),
    (b"\xff\xfe{}", DATA_PATTERN, False),
    (b'{"kind": "\xff"}', '{"data": {"kind": [{"exists": true}]}}', False),
    ('"hello"', DATA_PATTERN, False),
    ('[{"kind": "hello"}]', DATA_PATTERN, True),
    ("{}", '{"eventID": ["shardId-0:1"], "partitionKey": ["pk"]}', True),
    ("{}", '{"kinesis": {"partitionKey": ["pk"]}}', False),
    (deep("[", "]"), DATA_PATTERN, False),
]


@pytest.mark.parametrize(("data", "pattern", "expected"), KINESIS)
def test_kinesis_data_is_matched_as_json_or_as_text(data: bytes | str, pattern: str, expected: bool) -> None:
    assert compile_filters([pattern], data_key="data").matches(blob(data)) is expected


@pytest.mark.parametrize("data", ["!", "e30", 5, None, "é"])
def test_kinesis_data_that_is_not_base64_does_not_match(data: object) -> None:
    compiled = compile_filters(['{"data": {"a": [{"exists": false}]}}'], data_key="data")
    assert not compiled.matches({"kinesis": {"data": data}})
    assert not compiled.matches({"kinesis": None})
    assert not compiled.matches({})


# DynamoDB

DYNAMODB = [
    ('{"dynamodb": {"NewImage": {"k": {"S": ["v"]}}}}', True),
    ('{"dynamodb": {"NewImage": {"k": {"S": ["w"]}}}}', False),
    ('{"dynamodb": {"OldImage": {"k": {"S": [{"exists": false}]}}}}', True),
    ('{"eventName": ["INSERT"]}', True),
    ('{"eventName": ["REMOVE"], "dynamodb": {"NewImage": {"k": {"S": ["v"]}}}}', False),
    ('{"userIdentity": {"principalId": ["dynamodb.amazonaws.com"]}}', False),
]


@pytest.mark.parametrize(("pattern", "expected"), DYNAMODB)
def test_a_change_is_matched_with_its_type_tags(pattern: str, expected: bool) -> None:
    record = {"eventName": "INSERT", "dynamodb": {"NewImage": {"k": {"S": "v"}}, "SizeBytes": 4}}
    assert compile_filters([pattern], data_key="dynamodb").matches(record) is expected


@pytest.mark.parametrize("data_key", ["data", "dynamodb"])
def test_a_plain_pattern_for_stream_data_is_refused(data_key: Any) -> None:
    with pytest.raises(InvalidPattern, match=f'The pattern for "{data_key}" must be an object'):
        compile_filters([json.dumps({data_key: ["hello"]})], data_key=data_key)


class CountingRecord(dict[str, Any]):
    """A record that counts how often its body is read."""

    looks = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.looks += key == "body"
        return super().get(key, default)


def test_a_body_is_read_once_for_all_patterns_and_not_at_all_for_metadata() -> None:
    record = CountingRecord(messageId="1", body='{"a": 1}')
    five = compile_filters([f'{{"body": {{"a": [{number}]}}}}' for number in range(2, 7)], data_key="body")
    assert not five.matches(record)
    assert record.looks == 1
    assert compile_filters(['{"messageId": ["1"]}'], data_key="body").matches(record)
    assert not compile_filters(['{"messageId": ["2"], "body": {"a": [1]}}'], data_key="body").matches(record)
    assert record.looks == 1
