"""How does a compiled pattern test a record?

Every rule is compiled once. Each node of its tree becomes a table, which has a test for each type of value:

    str, int …   the leaf's test for this type              dict     the test of each branch, by the branch's key
    Absent       may everything at and below be missing?    list     the same-element rule of `arrays`

Without arrays, each key of the rule costs one lookup and one test, and the first failed test ends the match.
A rule has two parts: one tests the document under the record's data key, the other tests all other keys (metadata).
The metadata are tested first. The document is parsed only if it is needed, and only once for all rules.

AWS's pages say nothing about these points, or contradict each other, so poller decides:
- A pattern may also test metadata: every field of the record that the function sees. The fields of a Kinesis record's
  `kinesis` object count as top-level fields. AWS's pages promise only the data key; `metadata_keys` is for a warning.
- A leaf at `body` (`{"body": ["text"]}`) tests an SQS body that is a plain string, with any operator. It never matches
  a JSON body, and a pattern with keys below `body` never matches a plain string, as in AWS's table.
- A leaf at `data` or `dynamodb` is invalid: it is the "non-JSON pattern" that AWS refuses to store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from poller.core.filtering.arrays import Verdict, judge
from poller.core.filtering.documents import ABSENT, Absent, DataKey, Document, document_reader, encoded_data_reader
from poller.core.filtering.invalid import InvalidPattern
from poller.core.filtering.notation import KINDS
from poller.core.filtering.parsing import Rule, parse_pattern
from poller.core.filtering.predicates import Predicate, constant, never
from poller.core.filtering.tree import Branch, Node, grow
from poller.model.stream import StreamRecord

_Table = dict[type, Predicate]


class CompiledRule(NamedTuple):
    """The two parts of a compiled rule: `data` tests the record's document, and `metadata` tests its other fields.

    A part is None if the rule has no test for it.
    """

    metadata: Predicate | None
    data: _Table | None


class RecordFilter:
    """The compiled patterns of one mapping."""

    __slots__ = ("_fields", "_read", "_read_encoded", "_rules")

    def __init__(
        self,
        rules: tuple[CompiledRule, ...],
        read: Callable[[Mapping[str, Any]], Document],
        *,
        fields: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None,
        read_encoded: Callable[[bytes], Document] | None,
    ) -> None:
        self._rules = rules
        self._read = read
        self._fields = fields
        self._read_encoded = read_encoded

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Return whether the record matches one of the patterns, or whether there are no patterns. Never raises.

        `record` has the event's shape and consists of plain JSON types.
        """
        fields = record if self._fields is None else self._fields(record)
        document = None
        for metadata, data in self._rules:
            if metadata is not None and not metadata(fields):
                continue
            if data is None:
                return True
            if document is None:
                document = self._read(record)
            if data[type(document)](document):
                return True
        return not self._rules

    def matches_record(self, record: StreamRecord) -> bool:
        """Return whether a record of a stream matches, as `matches` does.

        If only Kinesis data are tested, only they are parsed.
        """
        if self._read_encoded is None:
            return self.matches(record.record)
        document = self._read_encoded(record.encoded)
        for _, data in self._rules:
            if data is None or data[type(document)](document):
                return True
        return not self._rules


def compile_filters(patterns: Sequence[str], *, data_key: DataKey) -> RecordFilter:
    """Return the compiled filter of these patterns, which are JSON texts. Raises InvalidPattern for an invalid one."""
    parsed = [parse_pattern(text) for text in patterns]
    rules = tuple(compile_rule(rule, data_key) for pattern in parsed for rule in pattern.rules)
    exact_integers = any(pattern.has_long_integer for pattern in parsed)
    asks_metadata = any(rule.metadata is not None for rule in rules)
    is_kinesis = data_key == "data"
    return RecordFilter(
        rules,
        document_reader(data_key, exact_integers=exact_integers),
        fields=with_kinesis_fields if is_kinesis and asks_metadata else None,
        read_encoded=encoded_data_reader(exact_integers=exact_integers) if is_kinesis and not asks_metadata else None,
    )


def metadata_keys(pattern: str, *, data_key: DataKey) -> list[str]:
    """Return the pattern's top-level keys except the data key, in their order, including keys inside `$or`."""
    paths = (path for rule in parse_pattern(pattern).rules for path in rule)
    return list(dict.fromkeys(path[0] for path in paths if path[0] != data_key))


def with_kinesis_fields(record: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = record.get("kinesis")
    outer = {key: value for key, value in record.items() if key != "kinesis"}
    return {**outer, **inner} if isinstance(inner, Mapping) else outer


def compile_rule(rule: Rule, data_key: DataKey) -> CompiledRule:
    data = {path[1:]: leaf for path, leaf in rule.items() if path[0] == data_key}
    metadata = {path: leaf for path, leaf in rule.items() if path[0] != data_key}
    if () in data and data_key != "body":
        raise InvalidPattern(f'The pattern for "{data_key}" must be an object', (data_key,))
    return CompiledRule(
        metadata=_walk(grow(metadata).branches) if metadata else None,
        data=_document_table(grow(data)) if data else None,
    )


def _document_table(node: Node) -> _Table:
    """Return the table for the document: keys below the data key match only JSON, and a leaf matches only plain text.

    A rule that has both keys and a leaf never matches.
    """
    table: _Table = dict.fromkeys((str, Absent, dict, list), never)
    if node.leaf is None:
        table |= {dict: _walk(node.branches), list: _judgement(node)}
    elif not node.branches:
        table |= {str: node.leaf.tests[str], Absent: constant(node.leaf.accepts_absence)}
    return table


def _table(node: Node) -> _Table:
    is_leaf_optional = node.leaf is None or node.leaf.accepts_absence
    are_branches_optional = all(branch.node.accepts_absence for branch in node.branches)
    absence = constant(node.accepts_absence)
    table: _Table = dict.fromkeys((*KINDS, Absent), absence)
    if node.leaf is not None:
        table |= node.leaf.tests if are_branches_optional else dict.fromkeys(KINDS, never)
    table[dict] = _walk(node.branches) if is_leaf_optional else never
    table[list] = _judgement(node)
    return table


def _judgement(node: Node) -> Predicate:
    return lambda value: judge(node, [value]) is not Verdict.FAILED


def _walk(branches: tuple[Branch, ...]) -> Callable[[Mapping[str, Any]], bool]:
    """Return a test of an object: each branch must match. If the object has keys with dots, a slower test is used."""
    tables = [(branch.key, _table(branch.node)) for branch in branches]
    dotted = [branch for branch in branches if branch.dotted]
    if not dotted:
        return _plain_walk(tables)
    ways_round = frozenset(key for branch in dotted for key in branch.dotted)
    node = Node(None, branches, all(branch.node.accepts_absence for branch in branches))
    plain, thorough = _plain_walk(tables), _judgement(node)
    return lambda value: plain(value) if ways_round.isdisjoint(value) else thorough(dict(value))


def _plain_walk(tables: list[tuple[str, _Table]]) -> Callable[[Mapping[str, Any]], bool]:
    def walk(value: Mapping[str, Any]) -> bool:
        get = value.get
        for key, table in tables:
            found = get(key, ABSENT)
            if not table[type(found)](found):
                return False
        return True

    return walk
