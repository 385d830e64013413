"""Does the filter match the same records as an obvious model, which flattens the record and tries every combination?

The model: a record is a list of fields. A field has its path, its value, and its place in every array around it. A
record matches a rule if one field can be chosen for each leaf of the rule, and no two chosen fields are in different
elements of one array. A leaf that allows absence needs no field if no field at its path agrees with the chosen ones.
"""

from __future__ import annotations

import itertools
import json
import re
from base64 import b64encode, encodebytes
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import assume, event, example, given
from hypothesis import strategies as st

from poller.core.envelope import KinesisEnvelope
from poller.core.filtering import DataKey, compile_filters, explain
from poller.model.stream import SequenceNumber, StreamRecord

# The model

Path = tuple[str, ...]
Membership = frozenset[tuple[int, int]]
"""For each array around a field, by number: the number of the element that the field is in."""


@dataclass(frozen=True)
class Field:
    path: Path
    value: Any
    membership: Membership


def flatten(record: dict[str, Any]) -> list[Field]:
    arrays = itertools.count()
    fields: list[Field] = []

    def visit(value: Any, path: Path, membership: Membership) -> None:
        if isinstance(value, dict):
            for key, below in value.items():
                visit(below, (*path, *key.split(".")), membership)
        elif isinstance(value, list):
            array = next(arrays)
            for number, item in enumerate(value):
                is_within = isinstance(item, dict | list)
                visit(item, path, membership | {(array, number)} if is_within else membership)
        else:
            fields.append(Field(path, value, membership))

    visit(record, (), frozenset())
    return fields


def agree(memberships: list[Membership]) -> bool:
    """Return whether no two fields are in different elements of one array."""
    places = frozenset[tuple[int, int]]().union(*memberships)
    return len(places) == len({array for array, _ in places})


def spells_an_array_twice(record: dict[str, Any]) -> bool:
    """Return whether one path with an array is written in two ways, with dots and nested; these arrays count as one."""
    spellings_of: dict[Path, set[Path]] = {}

    def visit(value: Any, keys: Path) -> None:
        if isinstance(value, dict):
            for key, below in value.items():
                visit(below, (*keys, key))
        elif isinstance(value, list):
            spellings_of.setdefault(tuple(".".join(keys).split(".")), set()).add(keys)
            for item in value:
                visit(item, keys)

    visit(record, ())
    return any(len(spellings) > 1 for spellings in spellings_of.values())


def model_rules(pattern: dict[str, Any], rules: list[dict[Path, Any]], path: Path = ()) -> list[dict[Path, Any]]:
    for key, value in pattern.items():
        below = (*path, *key.split("."))
        if key == "$or":
            rules = [rule for choice in value for rule in model_rules(choice, rules, path)]
        elif isinstance(value, dict):
            rules = model_rules(value, rules, below)
        else:
            rules = [{**rule, below: value} for rule in rules]
    return rules


def model_matches(pattern: dict[str, Any], record: dict[str, Any]) -> bool:
    fields = flatten(record)
    return any(model_satisfies(rule, fields) for rule in model_rules(pattern, [{}]))


def model_satisfies(rule: dict[Path, Any], fields: list[Field]) -> bool:
    options: list[list[Field | None]] = []
    for path, leaf in rule.items():
        found: list[Field | None] = [field for field in fields if field.path == path and accepts(leaf, field.value)]
        options.append([*found, None] if {"exists": False} in leaf else found)
    for choice in itertools.product(*options):
        chosen = [field.membership for field in choice if field is not None]
        missing = {path for path, field in zip(rule, choice, strict=True) if field is None}
        in_the_way = [field for field in fields if field.path in missing and agree([*chosen, field.membership])]
        if agree(chosen) and not in_the_way:
            return True
    return False


def accepts(leaf: list[Any], value: Any) -> bool:
    return any(accepts_one(alternative, value) for alternative in leaf)


def same(left: Any, right: Any) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def accepts_one(alternative: Any, value: Any) -> bool:
    if not isinstance(alternative, dict):
        return same(alternative, value)
    [(name, operand)] = alternative.items()
    text = value if isinstance(value, str) else None
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    match name:
        case "exists":
            return operand is True
        case "anything-but" if isinstance(operand, dict):
            [(inner, texts)] = operand.items()
            return not any(accepts_one({inner: one}, value) for one in (texts if isinstance(texts, list) else [texts]))
        case "anything-but":
            return not any(same(one, value) for one in (operand if isinstance(operand, list) else [operand]))
        case "numeric":
            signs = zip(operand[::2], operand[1::2], strict=True)
            return number is not None and all(compare(number, sign, bound) for sign, bound in signs)
        case "wildcard":
            regex = ".*".join(re.escape(part) for part in operand.split("*"))
            return text is not None and re.fullmatch(regex, text, re.DOTALL) is not None
        case "prefix":
            return text is not None and text[: len(operand)] == operand
        case "suffix":
            return text is not None and text[max(0, len(text) - len(operand)) :] == operand
        case "equals-ignore-case":
            return text is not None and text.lower() == operand.lower()
    raise AssertionError(name)


def compare(number: float, sign: str, bound: float) -> bool:
    below = sign in ("<", "<=") and number < bound
    above = sign in (">", ">=") and number > bound
    return below or above or ("=" in sign and number == bound)


# What leaves look like

TEXTS = st.text("aB", max_size=3)
FILLED = st.text("aB", min_size=1, max_size=2)
NUMBERS = st.sampled_from([-1, 0, 1, 1.0, 1.5, 2, 2**53 + 1])
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans(), st.none())
WILDCARDS = st.text("aB*", max_size=5).map(lambda text: re.sub(r"\*+", "*", text))


def one_or_some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return values | st.lists(values, min_size=1, max_size=2)


def expression(name: str, operand: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return operand.map(lambda value: {name: value})


ALTERNATIVES = st.one_of(
    SCALARS,
    *(expression(name, TEXTS) for name in ("prefix", "suffix", "equals-ignore-case")),
    expression("wildcard", WILDCARDS),
    expression("numeric", st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), NUMBERS)),
    expression(
        "numeric", st.tuples(st.sampled_from([">", ">="]), st.just(0), st.sampled_from(["<", "<="]), st.just(2))
    ),
    expression("anything-but", one_or_some(TEXTS) | one_or_some(NUMBERS)),
    *(
        expression("anything-but", expression(name, one_or_some(FILLED)))
        for name in ("prefix", "suffix", "equals-ignore-case")
    ),
    expression("anything-but", expression("wildcard", one_or_some(WILDCARDS))),
    st.sampled_from([{"exists": True}, {"exists": False}]),
)

# What patterns and records look like: few keys and values, so that they meet

PLAIN_KEYS = st.sampled_from("abc")
FEW_KEYS = st.sampled_from(["a", "b", "a.b", "b.a"])
ANY_KEYS = st.sampled_from(["a", "b", "c", "a.b", "b.a", "a.b.c", "a.", ""])
PRESENT: st.SearchStrategy[list[Any]] = st.sampled_from([[1], [2], [1, 2], [{"exists": True}], [{"anything-but": 1}]])
ABSENT: st.SearchStrategy[list[Any]] = st.sampled_from([[{"exists": False}], [1, {"exists": False}]])


def patterns(
    keys: st.SearchStrategy[str], leaf: st.SearchStrategy[list[Any]], depth: int = 3
) -> st.SearchStrategy[dict[str, Any]]:
    value = leaf if depth == 1 else leaf | patterns(keys, leaf, depth - 1)
    plain = st.dictionaries(keys, value, min_size=1, max_size=2)
    choices = st.lists(plain, min_size=2, max_size=2)
    return st.one_of(plain, plain, st.builds(lambda siblings, either: {**siblings, "$or": either}, plain, choices))


def values(keys: st.SearchStrategy[str], depth: int) -> st.SearchStrategy[Any]:
    scalar = st.sampled_from([1, 2, None])
    if depth == 0:
        return scalar
    below = values(keys, depth - 1)
    objects = st.dictionaries(keys, below, max_size=3)
    return st.one_of(scalar, objects, st.lists(objects | below, max_size=3))


def records(keys: st.SearchStrategy[str]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(keys, values(keys, 3), min_size=1, max_size=3)


@st.composite
def spellings(draw: st.DrawFn, pattern: dict[str, Any]) -> dict[str, Any]:
    """A record that has the paths of the pattern, in any spelling of dots and nesting, in and out of arrays."""
    record: dict[str, Any] = {}
    for path in draw(st.sampled_from(model_rules(pattern, [{}]))):
        value: Any = draw(st.sampled_from([1, 2]))
        steps = list(path)
        while steps:
            last = draw(st.integers(1, len(steps)))
            value = {".".join(steps[-last:]): value}
            del steps[-last:]
            if draw(st.booleans()) and steps:
                value = [value]
        merge(record, value)
    return record


def merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            merge(into[key], value)
        elif isinstance(value, list) and isinstance(into.get(key), list):
            into[key] = into[key] + value
        else:
            into[key] = value


def matches(pattern: dict[str, Any], record: Any) -> bool:
    compiled = compile_filters([json.dumps({"body": pattern})], data_key="body")
    return compiled.matches({"body": json.dumps(record)})


def has_a_leaf_above_another(pattern: dict[str, Any]) -> bool:
    paths = {path for rule in model_rules(pattern, [{}]) for path in rule}
    return any(path != other and path[: len(other)] == other for path in paths for other in paths)


def agrees_with_the_model(pattern: dict[str, Any], record: dict[str, Any]) -> bool:
    assume(len(flatten(record)) <= 20 and len(max(model_rules(pattern, [{}]), key=len)) <= 5)
    assume(not spells_an_array_twice(record))
    expected = model_matches(pattern, record)
    event(f"matches: {expected}")
    return matches(pattern, record) is expected


@given(st.lists(ALTERNATIVES, min_size=1, max_size=2), SCALARS | st.lists(SCALARS, max_size=2))
def test_a_leaf_accepts_what_the_model_accepts(leaf: list[Any], value: Any) -> None:
    assert agrees_with_the_model({"a": leaf}, {"a": value})


@pytest.mark.slow
@given(patterns(ANY_KEYS, PRESENT, 2).flatmap(lambda pattern: st.tuples(st.just(pattern), spellings(pattern))))
def test_a_path_in_any_spelling_matches_as_in_the_model(case: tuple[dict[str, Any], dict[str, Any]]) -> None:
    assert agrees_with_the_model(*case)


@pytest.mark.slow
@given(patterns(FEW_KEYS, PRESENT, 2), records(FEW_KEYS))
@example({"a": {"b": [1], "c": [2]}}, {"a": [{"b": 1}, {"c": 2}]})
@example({"a": [1], "a.b": [2]}, {"a": [[1], {"b": 2}]})
@example({"a": {"b": {"a": [1], "c": [2]}}}, {"a.b": {"a": 1}, "a": {"b.c": 2}})
def test_a_leaf_that_must_be_present_matches_as_in_the_model(pattern: dict[str, Any], record: dict[str, Any]) -> None:
    assert agrees_with_the_model(pattern, record)


@pytest.mark.slow
@given(patterns(PLAIN_KEYS, PRESENT | ABSENT), records(PLAIN_KEYS))
@example({"a": {"b": [1], "c": [{"exists": False}]}}, {"a": [{"b": 1, "c": 1}, {"c": 2}, {"b": 1}]})
@example({"a": {"b": [{"exists": False}], "c": [{"exists": False}]}}, {"a": [{"b": 1}, {"a": 2}]})
def test_a_leaf_that_may_be_missing_matches_as_in_the_model(pattern: dict[str, Any], record: dict[str, Any]) -> None:
    assume(not has_a_leaf_above_another(pattern))
    assert agrees_with_the_model(pattern, record)


LEAVES = PRESENT | ABSENT
ONE_ARRAY_PATTERNS = st.fixed_dictionaries(
    {"a": st.dictionaries(PLAIN_KEYS, LEAVES | st.dictionaries(PLAIN_KEYS, LEAVES, min_size=1), min_size=2)}
)
ELEMENTS = st.dictionaries(PLAIN_KEYS, st.sampled_from([1, 2, [], [1, 2]]), min_size=1)
NESTED = st.dictionaries(PLAIN_KEYS, st.sampled_from([1, 2]) | st.lists(ELEMENTS, max_size=2), min_size=1)
ONE_ARRAY_RECORDS = st.fixed_dictionaries({"a": st.lists(NESTED | st.lists(NESTED, max_size=2), max_size=3)})


@given(ONE_ARRAY_PATTERNS, ONE_ARRAY_RECORDS)
def test_fields_of_one_element_are_distinguished_from_fields_of_several(
    pattern: dict[str, Any], record: dict[str, Any]
) -> None:
    assert agrees_with_the_model(pattern, record)


# What holds for all of them

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda value: st.lists(value, max_size=3) | st.dictionaries(st.text(max_size=2) | ANY_KEYS, value, max_size=3),
    max_leaves=10,
)
ANY_PATTERNS = patterns(ANY_KEYS, PRESENT | ABSENT, 2)
ANY_RECORDS = records(ANY_KEYS)


@given(st.lists(ANY_PATTERNS, min_size=1, max_size=5), ANY_RECORDS)
def test_several_patterns_match_what_any_of_them_matches(several: list[dict[str, Any]], fields: dict[str, Any]) -> None:
    texts = [json.dumps({"body": pattern}) for pattern in several]
    record = {"body": json.dumps(fields)}
    each = [compile_filters([text], data_key="body").matches(record) for text in texts]
    assert compile_filters(texts, data_key="body").matches(record) is any(each)


@given(ANY_PATTERNS, ANY_PATTERNS, ANY_RECORDS)
def test_an_or_matches_what_any_of_its_choices_matches(
    left: dict[str, Any], right: dict[str, Any], fields: dict[str, Any]
) -> None:
    either = matches({"$or": [left, right]}, fields)
    assert either is (matches(left, fields) or matches(right, fields))


@given(ANY_PATTERNS, ANY_RECORDS)
def test_metadata_and_body_are_matched_by_the_same_rules(pattern: dict[str, Any], fields: dict[str, Any]) -> None:
    compiled = compile_filters([json.dumps({"attributes": pattern})], data_key="body")
    assert compiled.matches({"attributes": fields, "body": "{}"}) is matches(pattern, fields)


@given(patterns(ANY_KEYS, st.lists(ALTERNATIVES, min_size=1, max_size=2), 2), ANY_JSON | ANY_JSON.map(json.dumps))
def test_no_record_raises(pattern: dict[str, Any], value: Any) -> None:
    data_keys: list[DataKey] = ["body", "data", "dynamodb"]
    for data_key in data_keys:
        for text in (json.dumps(pattern), json.dumps({data_key: pattern})):
            compiled = compile_filters([text], data_key=data_key)
            compiled.matches({data_key: value, "a": value, "kinesis": {"data": value, "a": value}})
            compiled.matches({"kinesis": value})


@given(
    st.fixed_dictionaries({"data": ANY_PATTERNS}, optional={"partitionKey": st.just(["a"])}),
    ANY_RECORDS.map(json.dumps).map(str.encode) | st.binary(max_size=20),
    st.sampled_from(["a", "é", 'a,"data":"', ',"data":"', "\ud800", "\\"]),
    st.booleans(),
)
@example({"data": {"a": [1]}}, b'{"a": 1}', ',"data":"', False)
@example({"data": {"a": [1]}}, b'{"a": 1%s}' % (b" " * 100), "a", True)
@example({"data": {"a": [2**64]}}, b'{"a": %d}' % (2**64 + 1), "a", False)
@example({"data": {"a": [1]}, "partitionKey": ["a"]}, b'{"a": 1}', "é", False)
def test_an_encoded_kinesis_record_matches_as_the_parsed_one(
    pattern: dict[str, Any], data: bytes, partition_key: str, has_line_breaks: bool
) -> None:
    text = (encodebytes(data) if has_line_breaks else b64encode(data)).decode()
    wire = {"SequenceNumber": "1", "ApproximateArrivalTimestamp": 1.5, "Data": text, "PartitionKey": partition_key}
    encoded = KinesisEnvelope(arn="arn", region="r", role_arn="role").of_shard("shardId-0")(wire)
    record = StreamRecord(SequenceNumber("1"), partition_key, 1.5, encoded)
    compiled = compile_filters([json.dumps(pattern)], data_key="data")
    assert compiled.matches_record(record) is compiled.matches(record.record)


def test_kinesis_data_that_are_no_string_have_no_document() -> None:
    envelope = KinesisEnvelope(arn="arn", region="r", role_arn="role").of_shard("shardId-0")
    encoded = envelope({"SequenceNumber": "1", "ApproximateArrivalTimestamp": 1.5, "Data": 5})
    compiled = compile_filters(['{"data": {"a": [{"exists": false}]}}'], data_key="data")
    assert not compiled.matches_record(StreamRecord(SequenceNumber("1"), "1", 1.5, encoded))


@given(ANY_PATTERNS, ANY_RECORDS)
def test_the_explanation_of_a_pattern_says_what_the_filter_does(
    pattern: dict[str, Any], fields: dict[str, Any]
) -> None:
    record = {"body": json.dumps(fields)}
    text = json.dumps({"body": pattern})
    [explained] = explain([text], record, data_key="body")
    assert explained.matches == compile_filters([text], data_key="body").matches(record)
    for choice in explained.choices:
        accepts_absence = any('"exists": false' in leaf.accepted for leaf in choice.leaves)
        assert not choice.matches or accepts_absence or all(leaf.matches for leaf in choice.leaves)
        for leaf in choice.leaves:
            alone = json.dumps({leaf.path: json.loads(leaf.accepted)})
            assert leaf.matches == compile_filters([alone], data_key="body").matches(record)
