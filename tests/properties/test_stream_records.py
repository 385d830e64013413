"""Does `mismatch` agree with the filter about patterns for DynamoDB streams?"""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from poller.core.filtering import compile_filters, mismatch

NAMES = st.sampled_from(["a", "b", "N", "M", "S", "a.b", "M.x"])
TEXTS = st.sampled_from(["5", "x", "true"])
SCALARS = st.one_of(
    st.fixed_dictionaries({"S": TEXTS}),
    st.fixed_dictionaries({"N": st.sampled_from(["5", "50000"])}),
    st.fixed_dictionaries({"SS": st.lists(TEXTS, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"NS": st.lists(st.just("5"), min_size=1, max_size=2)}),
    st.fixed_dictionaries({"BOOL": st.booleans()}),
    st.fixed_dictionaries({"NULL": st.just(True)}),
)


def holders(attributes: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.fixed_dictionaries({"M": st.dictionaries(NAMES, attributes, max_size=2)}),
        st.fixed_dictionaries({"L": st.lists(attributes, max_size=2)}),
    )


ITEMS = st.dictionaries(NAMES, st.recursive(SCALARS, holders, max_leaves=5), max_size=3)
LEAVES = st.lists(
    st.sampled_from(
        ["5", "x", 5, True, None, {"numeric": [">", 0]}, {"exists": True}, {"exists": False}, {"prefix": ""}]
    ),
    min_size=1,
    max_size=2,
)
PATHS = st.lists(st.sampled_from(["a", "b", "x", "N", "M", "S", "L", "SS", "NS", "BOOL", "NULL"]), max_size=5)


def written(path: list[str], leaf: list[Any]) -> str:
    pattern: Any = leaf
    for step in reversed(["dynamodb", "NewImage", *path]):
        pattern = {step: pattern}
    return orjson.dumps(pattern).decode()


def leaves_of(value: Any, path: list[str]) -> list[tuple[list[str], Any]]:
    """Yield each scalar of an image with the path that a pattern uses for it."""
    if isinstance(value, dict):
        return [leaf for key, below in value.items() for leaf in leaves_of(below, [*path, key])]
    if isinstance(value, list):
        return [leaf for below in value for leaf in leaves_of(below, path)]
    return [(path, value)]


def matches(pattern: str, item: dict[str, Any]) -> bool:
    return compile_filters([pattern], data_key="dynamodb").matches({"dynamodb": {"NewImage": item}})


@given(PATHS, LEAVES, ITEMS)
@example(["a", "N"], [5], {"a": {"N": "5"}})
@example(["a", "b", "S"], ["x"], {"a.b": {"S": "x"}})
def test_a_pattern_with_a_mismatch_matches_no_record(path: list[str], leaf: list[Any], item: dict[str, Any]) -> None:
    pattern = written(path, leaf)
    assert mismatch(pattern) is None or not matches(pattern, item)


@given(ITEMS)
def test_a_pattern_for_any_value_of_an_item_has_no_mismatch(item: dict[str, Any]) -> None:
    for path, value in leaves_of(item, []):
        pattern = written(path, [value])
        assert matches(pattern, item)
        assert mismatch(pattern) is None
