"""Why does a record match a pattern, or not? Each leaf is tested alone, and then the whole pattern.

The tests are those of `matching`, so the explanation cannot differ from what the mapping does.
If a pattern has `$or`, each of its choices is explained, and one must match.
If a record has arrays, a choice may have another result than its leaves (`arrays`):

    each leaf matches alone, and the choice does not    no single element of an array has all the values that the
                                                        pattern wants in one element
    the choice matches, and a leaf with                 the element with the other values lacks the key, and another
    {"exists": false} does not match alone              element has the key
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from poller.core.filtering.documents import ABSENT, DataKey, document_reader
from poller.core.filtering.leaves import Leaf
from poller.core.filtering.matching import CompiledRule, RecordFilter, compile_rule, with_kinesis_fields
from poller.core.filtering.notation import Members
from poller.core.filtering.parsing import Path, Rule, parse_pattern
from poller.core.filtering.tree import Node, grow

MOST_VALUES = 5
"""How many of the values that a path has in a record are kept."""


class ExplainedLeaf(NamedTuple):
    """One leaf. `path` has dots. `accepted` is the leaf's JSON text. `matches` says whether the leaf alone matches.

    `found` are the first MOST_VALUES values that the record has at the path: none, or several in an array.
    """

    path: str
    accepted: str
    found: tuple[Any, ...]
    matches: bool


class ExplainedChoice(NamedTuple):
    """One combination of a pattern's `$or` choices; a pattern without `$or` has one."""

    leaves: tuple[ExplainedLeaf, ...]
    matches: bool


class ExplainedPattern(NamedTuple):
    text: str
    choices: tuple[ExplainedChoice, ...]

    @property
    def matches(self) -> bool:
        return any(choice.matches for choice in self.choices)


def explain(patterns: Sequence[str], record: Mapping[str, Any], *, data_key: DataKey) -> tuple[ExplainedPattern, ...]:
    """Return the explanation for each pattern. `record` has the event's shape. Raises InvalidPattern."""
    parsed = [parse_pattern(text) for text in patterns]
    record_of = _Reader(record, data_key, exact_integers=any(pattern.has_long_integer for pattern in parsed))
    return tuple(
        ExplainedPattern(text, tuple(record_of.explained(rule) for rule in pattern.rules))
        for text, pattern in zip(patterns, parsed, strict=True)
    )


class _Reader:
    """The record, as the compiled rules of a mapping see it."""

    def __init__(self, record: Mapping[str, Any], data_key: DataKey, *, exact_integers: bool) -> None:
        self._record = record
        self._data_key: DataKey = data_key
        self._read = document_reader(data_key, exact_integers=exact_integers)
        self._fields = with_kinesis_fields if data_key == "data" else None

    def explained(self, rule: Rule) -> ExplainedChoice:
        leaves = tuple(
            ExplainedLeaf(
                path=".".join(path),
                accepted=_json(leaf.alternatives),
                found=tuple(islice(self._values_at(path, leaf), MOST_VALUES)),
                matches=self._matches({path: leaf}),
            )
            for path, leaf in rule.items()
        )
        return ExplainedChoice(leaves, self._matches(rule))

    def _matches(self, rule: Rule) -> bool:
        rules: tuple[CompiledRule, ...] = (compile_rule(rule, self._data_key),)
        return RecordFilter(rules, self._read, fields=self._fields, read_encoded=None).matches(self._record)

    def _values_at(self, path: Path, leaf: Leaf) -> Iterator[Any]:
        if path[0] == self._data_key:
            return _values(self._read(self._record), grow({path[1:]: leaf}))
        fields = self._record if self._fields is None else self._fields(self._record)
        return _values(dict(fields), grow({path: leaf}))


def _values(root: Any, node: Node) -> Iterator[Any]:
    """Yield the record's values at the only leaf of the tree. If there are arrays on the path, all elements count."""
    level = [*_elements([root])]
    while node.branches:
        (branch,) = node.branches
        level = [*_elements(branch.values_in([value for value in level if type(value) is dict]))]
        node = branch.node
    return (value for value in level if value is not ABSENT)


def _elements(values: list[Any]) -> Iterator[Any]:
    """Yield the values, with the elements of each array in its place."""
    for value in values:
        if type(value) is list:
            yield from _elements(value)
        else:
            yield value


def _json(alternatives: Sequence[Any]) -> str:
    return json.dumps([_plain(each) for each in alternatives], ensure_ascii=False)


def _plain(value: Any) -> Any:
    """Return a value of a pattern with each Members as a dict. If a key occurs twice, its last value counts."""
    if type(value) is Members:
        return {key: _plain(each) for key, each in value}
    return [_plain(each) for each in value] if type(value) is list else value
