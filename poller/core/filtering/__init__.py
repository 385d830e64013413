"""Does a record match the filter criteria?

    pattern text --parsing--> rules: {path: leaf} --tree--> nested nodes --matching--> closures
                                      |                                      |    |
                                      leaves, operators, texts         documents  arrays

A pattern is a JSON object whose leaves are arrays. A record matches a pattern if it matches every key, and a leaf if it
matches one of the leaf's values. It matches the filter criteria if it matches one of the patterns.

    notation         parses the JSON text of a pattern
    parsing          turns a pattern into rules, one rule for each combination of its `$or` choices
    leaves, operators, texts    decide which values a leaf accepts
    invalid          says what is wrong with a pattern, and where
    predicates       combines tests of one value
    tree             turns the paths of a rule into nested nodes
    documents        parses the record's data key as JSON, once for all patterns
    matching         turns every rule into closures that test a record
    arrays           tests a record's arrays
    explaining       says why a record matches or does not match, leaf by leaf
    stream_records   finds patterns that no record of a DynamoDB stream can match

The pattern language is that of "Control which events Lambda sends to your function" (AWS Lambda Developer Guide) and
"Comparison operators for use in event patterns" (Amazon EventBridge User Guide).
Where these pages say nothing or contradict each other, poller lets more records match, because a record that does not
match is never delivered. The docstring of each module lists such choices.
"""

from __future__ import annotations

from poller.core.filtering.documents import DataKey, data_key_of, has_document
from poller.core.filtering.explaining import ExplainedLeaf, ExplainedPattern, explain
from poller.core.filtering.invalid import InvalidPattern
from poller.core.filtering.matching import RecordFilter, compile_filters, metadata_keys
from poller.core.filtering.stream_records import mismatch

__all__ = [
    "DataKey",
    "ExplainedLeaf",
    "ExplainedPattern",
    "InvalidPattern",
    "RecordFilter",
    "compile_filters",
    "data_key_of",
    "explain",
    "has_document",
    "metadata_keys",
    "mismatch",
]
