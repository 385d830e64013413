"""Does a record match the filter criteria?

    pattern text --parsing--> rules: {path: leaf} --tree--> nested nodes --matching--> closures
                                      |                                      |    |
                                      leaves, operators, texts         documents  arrays

A pattern is a JSON object whose leaves are arrays: keys are ANDed, the values of a leaf are ORed, patterns are ORed.
`parsing` writes a pattern out as rules, one for each way through its `$or`s; `leaves`, `operators` and `texts` say
which values a leaf accepts; `tree` nests a rule's paths again; `documents` reads the record's data key as JSON, once
for all patterns; `matching` turns every rule into closures that walk a record; `arrays` takes over at an array;
`notation` reads JSON as patterns need it; `predicates` combines tests of one value.
`stream_records` finds patterns that no record of a DynamoDB stream can match.

The language is that of "Control which events Lambda sends to your function" (AWS Lambda Developer Guide) and
"Comparison operators for use in event patterns" (Amazon EventBridge User Guide).  Where these are silent or contradict
each other, the wider reading is taken, since a record that does not match is deleted or passed over for good; each
choice stands in the docstring of the module that makes it.
"""

from __future__ import annotations

from poller.core.filtering.documents import DataKey
from poller.core.filtering.invalid import InvalidPattern
from poller.core.filtering.matching import RecordFilter, compile_filters, metadata_keys
from poller.core.filtering.stream_records import mismatch

__all__ = ["DataKey", "InvalidPattern", "RecordFilter", "compile_filters", "metadata_keys", "mismatch"]
