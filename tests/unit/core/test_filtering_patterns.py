"""How is a pattern built: nesting, dots, keys that are written twice, `$or`? And which patterns are wrong?"""

from __future__ import annotations

import json
from typing import Any

import pytest

from poller.core.filtering import InvalidPattern, compile_filters, metadata_keys


def matches(pattern: str | dict[str, Any], body: object) -> bool:
    text = pattern if isinstance(pattern, str) else json.dumps(pattern)
    return compile_filters([text], data_key="body").matches({"messageId": "1", "body": json.dumps(body)})


def test_without_patterns_every_record_matches() -> None:
    assert compile_filters((), data_key="body").matches({"body": "anything"})


def test_one_pattern_of_several_is_enough() -> None:
    compiled = compile_filters(['{"body": {"a": [1]}}', '{"body": {"b": [2]}}'], data_key="body")
    assert compiled.matches({"body": '{"b": 2}'})
    assert not compiled.matches({"body": '{"a": 2, "b": 1}'})


def test_all_keys_of_a_pattern_must_match_and_further_keys_of_the_record_do_not_matter() -> None:
    pattern = {"body": {"a": [1], "b": {"c": [2]}}}
    assert matches(pattern, {"a": 1, "b": {"c": 2, "d": 3}, "e": 4})
    assert not matches(pattern, {"a": 1, "b": {"c": 3}})
    assert not matches(pattern, {"a": 1})


def test_keys_are_case_sensitive() -> None:
    assert not matches({"body": {"Kind": ["x"]}}, {"kind": "x"})


@pytest.mark.parametrize("pattern", [{"a.b": [1]}, {"a": {"b": [1]}}])
@pytest.mark.parametrize("body", [{"a.b": 1}, {"a": {"b": 1}}, {"a": {"b": 2}, "a.b": 1}])
def test_a_dot_in_a_key_is_the_same_as_nesting(pattern: dict[str, Any], body: dict[str, Any]) -> None:
    assert matches({"body": pattern}, body)


def test_fields_below_dots_and_below_nesting_are_seen_together() -> None:
    pattern = {"body": {"a": {"b": {"c": [1], "d": [2]}}}}
    assert matches(pattern, {"a.b": {"c": 1}, "a": {"b.d": 2}})
    assert not matches(pattern, {"a.b": {"c": 1}, "a": {"b.d": 3}})


def test_a_dotted_data_key_is_the_data_key() -> None:
    assert matches({"body.a": [1]}, {"a": 1})


def test_an_object_that_is_written_twice_requires_both() -> None:
    pattern = '{"dynamodb": {"NewImage": {"a": {"S": ["new"]}}}, "dynamodb": {"OldImage": {"a": {"S": ["old"]}}}}'
    compiled = compile_filters([pattern], data_key="dynamodb")
    assert compiled.matches({"dynamodb": {"NewImage": {"a": {"S": "new"}}, "OldImage": {"a": {"S": "old"}}}})
    assert not compiled.matches({"dynamodb": {"NewImage": {"a": {"S": "new"}}, "OldImage": {"a": {"S": "new"}}}})


def test_the_last_one_counts_if_a_leaf_is_written_twice() -> None:
    pattern = '{"body": {"a": [1], "a": [2]}}'
    assert matches(pattern, {"a": 2})
    assert not matches(pattern, {"a": 1})


def test_a_leaf_and_keys_below_it_are_two_conditions() -> None:
    pattern = '{"body": {"a": [1], "a": {"b": [2]}}}'
    assert matches(pattern, {"a": [1, {"b": 2}]})
    assert matches(pattern, {"a": 1, "a.b": 2})
    assert not matches(pattern, {"a": 1})
    assert not matches(pattern, {"a": {"b": 2}})


def test_a_field_that_is_not_an_object_has_no_keys() -> None:
    assert matches({"body": {"a": {"b": [{"exists": False}]}}}, {"a": 1})
    assert not matches({"body": {"a": {"b": [{"exists": True}]}}}, {"a": 1})


# $or

OR = {"body": {"source": ["x"], "$or": [{"a": [1]}, {"b": {"c": [2]}, "d": [3]}]}}


@pytest.mark.parametrize("body", [{"source": "x", "a": 1}, {"source": "x", "a": 9, "b": {"c": 2}, "d": 3}])
def test_an_or_matches_if_one_choice_and_all_its_siblings_match(body: dict[str, Any]) -> None:
    assert matches(OR, body)


@pytest.mark.parametrize("body", [{"a": 1}, {"source": "x"}, {"source": "x", "b": {"c": 2}}, {"source": "y", "a": 1}])
def test_an_or_does_not_match_without_a_whole_choice_or_without_a_sibling(body: dict[str, Any]) -> None:
    assert not matches(OR, body)


def test_an_or_may_stand_in_an_or() -> None:
    pattern = {"body": {"$or": [{"a": [1]}, {"b": [2], "$or": [{"c": [3]}, {"d": {"e": [4]}}]}]}}
    assert matches(pattern, {"a": 1})
    assert matches(pattern, {"b": 2, "d": {"e": 4}})
    assert not matches(pattern, {"b": 2})
    assert not matches(pattern, {"c": 3})


def test_an_or_may_stand_beside_another() -> None:
    pattern = '{"body": {"$or": [{"a": [1]}, {"b": [1]}], "$or": [{"c": [1]}, {"d": [1]}]}}'
    assert matches(pattern, {"b": 1, "c": 1})
    assert not matches(pattern, {"a": 1, "b": 1})


def test_an_or_may_choose_between_body_and_metadata() -> None:
    compiled = compile_filters(['{"$or": [{"body": {"a": [1]}}, {"messageId": ["7"]}]}'], data_key="body")
    assert compiled.matches({"messageId": "7", "body": "plain"})
    assert compiled.matches({"messageId": "8", "body": '{"a": 1}'})
    assert not compiled.matches({"messageId": "8", "body": "plain"})


def test_the_last_one_counts_if_a_leaf_is_inside_and_beside_an_or() -> None:
    assert matches('{"body": {"a": [1], "$or": [{"a": [2]}, {"b": [3]}]}}', {"a": 2})
    assert not matches('{"body": {"$or": [{"a": [2]}, {"b": [3]}], "a": [1]}}', {"a": 2})


# What is wrong, and where

WRONG = [
    ("not json", "not valid JSON"),
    ("", "not valid JSON"),
    ("[" * 100_000, "not valid JSON"),
    ("1" * 5_000, "not valid JSON"),
    ("[]", "Filter is not an object"),
    ("{}", "Empty objects are not allowed."),
    ('{"body": {}}', r"Empty objects are not allowed \(at body\)"),
    ('{"body": {"a": "x"}}', r'"a" must be an object or an array \(at body\.a\)'),
    ('{"body": {"a": []}}', r"Empty arrays are not allowed \(at body\.a\)"),
    ('{"body": {"a": [1, [2]]}}', r"Match value must be .+ \(at body\.a\[1\]\)"),
    ('{"body": {"a": [1, {"numeric": [">", 1, ">", 2]}]}}', r"lower bound .+ \(at body\.a\[1\]\.numeric\)"),
    ('{"$or": {"a": [1]}}', r"\$or takes an array of objects \(at \$or\)"),
    ('{"$or": ["a", "b"]}', r"\$or takes an array of objects"),
    ('{"$or": []}', "at least 2 objects"),
    ('{"$or": [{"a": [1]}]}', "at least 2 objects"),
    ('{"$or": [{"a": [1]}, {}]}', r"Empty objects are not allowed \(at \$or\[1\]\)"),
    ('{"$or": [{"a": [1]}, {"prefix": ["x"]}]}', r'"prefix" is a reserved field name'),
    ('{"$or": [{"a": [1]}, {"b": {"date-after": ["x"]}}]}', r"reserved .+ \(at \$or\[1\]\.b\)"),
    ('{"a": {"b":' * 101 + "[1]" + "}}" * 101, "nested deeper than 100 levels"),
    ('{"' + "a." * 101 + '": [1]}', "nested deeper than 100 levels"),
    ('{"$or": [{"a": [1]}, ' * 400 + '{"a": [1]}' + "]}" * 400, "nested deeper than 100 levels"),
    ('{"a": {' + ", ".join(['"$or": [{"a": [1]}, {"b": [1]}]'] * 100) + "}}", "more than 1000 combinations"),
]


@pytest.mark.parametrize(("pattern", "complaint"), WRONG, ids=[complaint for _, complaint in WRONG])
def test_the_error_of_a_wrong_pattern_says_what_and_where(pattern: str, complaint: str) -> None:
    with pytest.raises(InvalidPattern, match=rf"^Invalid filter pattern definition\. .*{complaint}"):
        compile_filters(['{"body": {"fine": [1]}}', pattern], data_key="body")


def test_names_of_operators_are_field_names_outside_an_or() -> None:
    assert matches({"body": {"prefix": ["x"]}}, {"prefix": "x"})


def test_a_pattern_may_be_as_deep_as_the_limit() -> None:
    body: Any = 1
    pattern: Any = [1]
    for _ in range(99):
        body, pattern = [{"a": body}], {"a": pattern}
    assert matches({"body": pattern}, body)


def test_a_pattern_may_stand_for_as_many_combinations_as_the_limit() -> None:
    choices = [{f"a{number}": [1]} for number in range(1000)]
    assert matches({"body": {"$or": choices}}, {"a999": 1})
    with pytest.raises(InvalidPattern, match="more than 1000 combinations"):
        matches({"body": {"$or": [*choices, {"b": [1]}]}}, {})


def test_metadata_keys_are_the_keys_beside_the_data_key() -> None:
    pattern = '{"messageId": ["1"], "body": {"a": [1]}, "$or": [{"attributes.X": ["2"]}, {"messageId": ["3"]}]}'
    assert metadata_keys(pattern, data_key="body") == ["messageId", "attributes"]
    assert metadata_keys(pattern, data_key="data") == ["messageId", "body", "attributes"]
    assert metadata_keys('{"body": {"$or": [{"a": [1]}, {"b": [1]}]}}', data_key="body") == []
