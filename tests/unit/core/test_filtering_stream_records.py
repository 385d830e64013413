"""Which patterns match no record of a DynamoDB stream?"""

from __future__ import annotations

import orjson
import pytest

from poller.core.filtering import mismatch

NUMBERS_ARE_TEXT = 'is text, because DynamoDB writes numbers as text: a number or "numeric" never matches'
NO_TYPE = "names no type; write the type below the attribute (S, N, B, SS, NS, BS, BOOL, NULL, M, L), as in salary.N"
ANOTHER_KIND = "never has the type that the pattern requires"
NUMERIC = [{"numeric": [">", 50_000]}]


def written(image: object) -> str:
    return orjson.dumps({"dynamodb": {"NewImage": image}}).decode()


@pytest.mark.parametrize(
    ("image", "why"),
    [
        ({"salary": {"N": NUMERIC}}, f"dynamodb.NewImage.salary.N {NUMBERS_ARE_TEXT}"),
        ({"salary": {"N": [50_000, None]}}, f"dynamodb.NewImage.salary.N {NUMBERS_ARE_TEXT}"),
        ({"marks": {"NS": [5]}}, f"dynamodb.NewImage.marks.NS {NUMBERS_ARE_TEXT}"),
        ({"a": {"M": {"b": {"N": [5]}}}}, f"dynamodb.NewImage.a.M.b.N {NUMBERS_ARE_TEXT}"),
        ({"a": {"L": {"N": [5]}}}, f"dynamodb.NewImage.a.L.N {NUMBERS_ARE_TEXT}"),
        ({"salary": ["50000"]}, f"dynamodb.NewImage.salary {NO_TYPE}"),
        ({"salary": [{"exists": True}]}, f"dynamodb.NewImage.salary {NO_TYPE}"),
        (["a"], f"dynamodb.NewImage {NO_TYPE}"),
        ({"a": {"M": ["b"]}}, f"dynamodb.NewImage.a.M {NO_TYPE}"),
        ({"a": {"M": {"b": ["c"]}}}, f"dynamodb.NewImage.a.M.b {NO_TYPE}"),
        ({"a": {"L": ["b"]}}, f"dynamodb.NewImage.a.L {NO_TYPE}"),
        ({"a": {"s": ["b"]}}, f"dynamodb.NewImage.a.s {NO_TYPE}"),
        ({"name": {"S": [5]}}, f"dynamodb.NewImage.name.S {ANOTHER_KIND}"),
        ({"done": {"BOOL": ["true"]}}, f"dynamodb.NewImage.done.BOOL {ANOTHER_KIND}"),
        ({"done": {"NULL": [None]}}, f"dynamodb.NewImage.done.NULL {ANOTHER_KIND}"),
        ({"fine": {"S": ["a"]}, "salary": {"N": [5]}}, f"dynamodb.NewImage.salary.N {NUMBERS_ARE_TEXT}"),
        ({"$or": [{"a": {"N": [5]}}, {"b": ["c"]}]}, f"dynamodb.NewImage.a.N {NUMBERS_ARE_TEXT}"),
    ],
)
def test_a_leaf_that_accepts_no_value_of_its_type_matches_no_record(image: object, why: str) -> None:
    assert mismatch(written(image)) == why


@pytest.mark.parametrize(
    "image",
    [
        {"salary": {"N": ["50000"]}},
        {"salary": {"N": [50_000, "50000"]}},
        {"salary": {"N": [{"anything-but": [50_000]}]}},
        {"salary": {"N": [{"exists": True}]}},
        {"salary": [{"exists": False}]},
        {"done": {"BOOL": [True]}},
        {"gone": {"NULL": [True]}},
        {"tags": {"SS": ["a"]}},
        {"a": {"M": {"b": {"L": {"S": ["c"]}}}}},
        {"a.b": {"S": ["c"]}},
        {"M": {"M": {"M": {"S": ["c"]}}}},
        {"$or": [{"a": {"N": [5]}}, {"b": {"S": ["c"]}}]},
    ],
)
def test_a_leaf_that_accepts_some_value_of_its_type_may_match(image: object) -> None:
    assert mismatch(written(image)) is None


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ({"eventName": ["INSERT"]}, None),
        ({"eventName": [{"anything-but": ["REMOVE"]}]}, None),
        ({"eventName": ["insert", "CREATE"]}, "eventName is INSERT, MODIFY, REMOVE, and nothing else"),
        ({"eventName": ["REMOVE"], "dynamodb": {"NewImage": {"a": {"S": ["b"]}}}}, None),
        ({"awsRegion": ["mars-1"]}, None),
        ({"dynamodb": {"StreamViewType": ["NEW_IMAGE"], "SizeBytes": NUMERIC}}, None),
        ({"dynamodb": {"SizeBytes": ["5"]}}, f"dynamodb.SizeBytes {ANOTHER_KIND}"),
        ({"dynamodb": {"SequenceNumber": [5]}}, f"dynamodb.SequenceNumber {ANOTHER_KIND}"),
        (
            {"dynamodb": {"salary": {"N": ["5"]}}},
            "dynamodb.salary.N is not a field of a record; it has Keys, NewImage, OldImage, "
            "ApproximateCreationDateTime, SequenceNumber, SizeBytes, StreamViewType",
        ),
        ({"dynamodb": {"newImage": {"a": {"S": [{"exists": False}]}}}}, None),
    ],
)
def test_fields_beside_the_images_are_checked_too(pattern: object, why: str | None) -> None:
    assert mismatch(orjson.dumps(pattern).decode()) == why
