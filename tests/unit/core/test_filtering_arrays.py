"""How does a pattern match arrays?

Any element can match, but all fields below one array must be of the same element.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from poller.core.filtering import compile_filters

ANNA_JONES = {"employees": {"first": ["Anna"], "last": ["Jones"]}}
NO_ZIP = {"employees": {"first": ["Anna"], "zip": [{"exists": False}]}}
NESTED = {"teams": {"name": ["core"], "people": {"name": ["Anna"], "role": ["lead"]}}}


def person(**fields: Any) -> dict[str, Any]:
    return fields


# The pattern for the body, the bodies that match, and those that do not.
CASES: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    (
        {"a": [1, 2]},
        [{"a": [2, 3]}, {"a": [[4], [[2]]]}, {"a": [{}, 1]}, {"a": [1, [4, [5]]]}],
        [{"a": [3]}, {"a": []}, {"a": [[]]}],
    ),
    ({"a": [{"anything-but": "x"}]}, [{"a": ["x", "y"]}, {"a": ["x", 1]}], [{"a": ["x", "x"]}, {"a": []}]),
    ({"a": [{"exists": True}]}, [{"a": [0]}, {"a": [[None]]}], [{"a": []}, {"a": {}}, {"a": [{}, []]}]),
    ({"a": [{"exists": False}]}, [{"a": []}, {"a": {}}, {"a": [{"b": 1}]}], [{"a": [0]}, {"a": [[], [None]]}]),
    (
        ANNA_JONES,
        [
            {"employees": [person(first="Anna", last="Smith"), person(first="Anna", last="Jones")]},
            {"employees": person(first="Anna", last="Jones")},
            {"employees": [[person(first="Anna", last=["Smith", "Jones"])]]},
        ],
        [
            {"employees": [person(first="Anna", last="Smith"), person(first="Peter", last="Jones")]},
            {"employees": [[person(first="Anna")], [person(last="Jones")]]},
            {"employees": [[person(first="Anna"), person(last="Jones")]]},
        ],
    ),
    (
        NO_ZIP,
        [
            {"employees": [person(first="Anna"), person(first="Peter", zip=1)]},
            {"employees": [person(first="Anna", zip=1), person(first="Anna", zip=[])]},
        ],
        [{"employees": [person(first="Anna", zip=1), person(first="Peter")]}],
    ),
    (
        {"employees": {"zip": [{"exists": False}]}},
        [{"employees": [person(first="Anna")]}, {"employees": []}, {}, {"employees": "none"}],
        [{"employees": [person(first="Anna"), person(zip=1)]}, {"employees": [[person()], [[person(zip=[None])]]]}],
    ),
    (
        {"employees": {"a": [{"exists": False}], "b": ["x", {"exists": False}]}},
        [{"employees": [person(a=1), person(b="x")]}, {"employees": [person(c=1)]}],
        [{"employees": [person(b="y"), person(c=1)]}, {"employees": [person(a=1, b="x")]}],
    ),
    (
        NESTED,
        [
            {"teams": [person(name="x"), person(name="core", people=[person(name="Anna", role="lead")])]},
            {"teams": person(name="core", people=[person(name="Bo"), person(name="Anna", role=["x", "lead"])])},
        ],
        [
            {"teams": [person(name="core"), person(name="x", people=[person(name="Anna", role="lead")])]},
            {"teams": [person(name="core", people=[person(name="Anna"), person(name="Bo", role="lead")])]},
        ],
    ),
    (
        {"a": {"x": [1]}, "b": {"y": [2]}},
        [{"a": [person(x=0), person(x=1)], "b": [person(y=2), person(y=0)]}],
        [{"a": [person(x=1)], "b": [person(x=1)]}],
    ),
    ({"a": [1]}, [[{"a": 0}, {"a": 1}]], [[{"b": 1}], [1], []]),
]


@pytest.mark.parametrize(("pattern", "body"), [(pattern, body) for pattern, good, _ in CASES for body in good])
def test_an_array_matches(pattern: dict[str, Any], body: object) -> None:
    assert compile_filters([json.dumps({"body": pattern})], data_key="body").matches({"body": json.dumps(body)})


@pytest.mark.parametrize(("pattern", "body"), [(pattern, body) for pattern, _, bad in CASES for body in bad])
def test_an_array_does_not_match(pattern: dict[str, Any], body: object) -> None:
    assert not compile_filters([json.dumps({"body": pattern})], data_key="body").matches({"body": json.dumps(body)})


def test_a_list_attribute_of_dynamodb_is_reached_through_its_array() -> None:
    pattern = '{"dynamodb": {"NewImage": {"Organizations": {"L": {"S": [{"exists": true}]}}}}}'
    compiled = compile_filters([pattern], data_key="dynamodb")
    assert compiled.matches({"dynamodb": {"NewImage": {"Organizations": {"L": [{"N": "1"}, {"S": "x"}]}}}})
    assert not compiled.matches({"dynamodb": {"NewImage": {"Organizations": {"L": [{"N": "1"}]}}}})


def test_a_large_array_of_plain_values_and_objects_is_matched_in_time() -> None:
    pattern = '{"body": {"a": [{"exists": false}], "a": {"x": [1], "y": [2], "z": [{"exists": false}]}}}'
    elements: list[Any] = [0] * 50_000 + [{"x": 1}, {"y": 2}] * 25_000
    body = json.dumps({"a": elements, "a.x": elements, "a.y": elements})
    assert not compile_filters([pattern], data_key="body").matches({"body": body})


def test_arrays_at_one_path_in_two_spellings_count_as_one() -> None:
    compiled = compile_filters(['{"body": {"a": {"b": {"x": [1], "y": [2]}}}}'], data_key="body")
    assert compiled.matches({"body": '{"a": {"b": [{"x": 1}]}, "a.b": [{"x": 0}, {"x": 1, "y": 2}]}'})
    assert not compiled.matches({"body": '{"a": {"b": [{"x": 1}]}, "a.b": [{"y": 2}]}'})
