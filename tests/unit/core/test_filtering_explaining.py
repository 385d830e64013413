"""Why does a record match a pattern, or not?"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest

from poller.core.filtering import ExplainedLeaf, ExplainedPattern, InvalidPattern, explain


def explained(pattern: dict[str, Any], body: Any) -> ExplainedPattern:
    text = body if isinstance(body, str) else json.dumps(body)
    [one] = explain([json.dumps({"body": pattern})], {"body": text}, data_key="body")
    return one


def leaves(pattern: dict[str, Any], body: Any) -> list[ExplainedLeaf]:
    [choice] = explained(pattern, body).choices
    return list(choice.leaves)


def test_each_leaf_says_what_it_accepts_what_the_record_has_and_whether_it_matches() -> None:
    pattern = {"kind": ["signup"], "age": [{"numeric": [">=", 18]}], "gone": [{"exists": False}]}
    assert leaves(pattern, {"kind": "order", "age": 20}) == [
        ExplainedLeaf("body.kind", '["signup"]', ("order",), False),
        ExplainedLeaf("body.age", '[{"numeric": [">=", 18]}]', (20,), True),
        ExplainedLeaf("body.gone", '[{"exists": false}]', (), True),
    ]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"a": {"b": 1}}, (1,)),
        ({"a.b": 1}, (1,)),
        ({"a": [{"b": 1}, {"b": [2, 3]}, {"c": 4}]}, (1, 2, 3)),
        ({"a": [{"b": each} for each in range(9)]}, (0, 1, 2, 3, 4)),
        ({"a": {"b": None}}, (None,)),
        ({"a": {"b": {"c": 1}}}, ({"c": 1},)),
        ({"a": 1}, ()),
        ([], ()),
        ("plain text", ()),
    ],
)
def test_the_first_values_at_the_path_are_found_in_every_element_of_an_array(body: Any, found: tuple[Any, ...]) -> None:
    [leaf] = leaves({"a": {"b": [1]}}, body)
    assert leaf.found == found


def test_a_choice_may_fail_though_each_leaf_matches_alone() -> None:
    [choice] = explained({"l": {"a": [1], "b": [2]}}, {"l": [{"a": 1, "b": 3}, {"a": 2, "b": 2}]}).choices
    assert [leaf.matches for leaf in choice.leaves] == [True, True]
    assert not choice.matches


def test_a_choice_may_match_though_another_element_has_a_key_that_must_not_exist() -> None:
    [choice] = explained({"l": {"a": [1], "b": [{"exists": False}]}}, {"l": [{"a": 1}, {"b": 1}]}).choices
    assert [leaf.matches for leaf in choice.leaves] == [True, False]
    assert choice.matches


def test_each_choice_of_an_or_is_explained() -> None:
    pattern = explained({"a": [1], "$or": [{"b": [2]}, {"c": [3]}]}, {"a": 1, "c": 3})
    assert [choice.matches for choice in pattern.choices] == [False, True]
    assert [[leaf.path for leaf in choice.leaves] for choice in pattern.choices] == [
        ["body.a", "body.b"],
        ["body.a", "body.c"],
    ]
    assert pattern.matches


def test_a_leaf_at_the_body_finds_a_plain_text() -> None:
    [pattern] = explain(['{"body": ["hello"]}'], {"body": "hello"}, data_key="body")
    assert pattern.choices[0].leaves == (ExplainedLeaf("body", '["hello"]', ("hello",), True),)


def test_the_fields_of_a_kinesis_record_and_its_data_are_explained() -> None:
    data = b64encode(json.dumps({"kind": "click"}).encode()).decode()
    record = {"kinesis": {"data": data, "partitionKey": "p"}, "eventSource": "aws:kinesis"}
    [pattern] = explain(['{"data": {"kind": ["click"]}, "partitionKey": ["q"]}'], record, data_key="data")
    assert pattern.choices[0].leaves == (
        ExplainedLeaf("data.kind", '["click"]', ("click",), True),
        ExplainedLeaf("partitionKey", '["q"]', ("p",), False),
    )
    assert not pattern.matches


def test_an_invalid_pattern_is_refused() -> None:
    with pytest.raises(InvalidPattern):
        explain(['{"body": 1}'], {}, data_key="body")
