"""Does AWS accept a filter pattern, and does AWS read the keys that the pattern names?

A pattern that AWS does not accept is a fault. There is a warning for a pattern that no record can match, and for a
pattern with keys that AWS does not promise to read.
Source: AWS Lambda Developer Guide, "Control which events Lambda sends to your function".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from poller.core.filtering import DataKey, InvalidPattern, compile_filters, data_key_of, metadata_keys, mismatch
from poller.model.arn import Arn
from poller.settings.faults import Fault
from poller.settings.mappings import INVALID_PATTERN, MappingOptions
from poller.settings.reading import Entry
from poller.settings.table import Path, Substituted, dotted

_OF_ALL = frozenset({"eventSource", "eventSourceARN", "awsRegion"})
_OF_STREAMS = _OF_ALL | {"eventID", "eventName", "eventVersion"}
_METADATA: Mapping[DataKey, frozenset[str]] = {
    "body": _OF_ALL
    | {"messageId", "receiptHandle", "attributes", "messageAttributes", "md5OfBody", "md5OfMessageAttributes"},
    "data": _OF_STREAMS
    | {"kinesisSchemaVersion", "partitionKey", "sequenceNumber", "approximateArrivalTimestamp", "invokeIdentityArn"},
    "dynamodb": _OF_STREAMS | {"userIdentity"},
}
"""The keys that a record has besides its data, for each data key. A filter may name them."""

_KNOWN_TO_WORK = frozenset({("dynamodb", "eventName")})
"""The keys of `_METADATA` that AWS is known to read, although its pages promise only the data key."""


def filter_rules(mapping: Entry[MappingOptions]) -> Iterator[Fault]:
    """Yield a fault for each invalid pattern. If the source cannot be read, the patterns are checked as for a queue."""
    for index, pattern in enumerate(mapping.options.filters):
        keys = _keys(index)
        try:
            compile_filters([pattern], data_key=_data_key(mapping.options.event_source_arn))
        except InvalidPattern as invalid:
            yield Fault(mapping.at(*keys), _explained(invalid, mapping.written(*keys)))


def filter_advice(mapping: Entry[MappingOptions]) -> Iterator[str]:
    """Yield warnings about patterns that no record can match, and about keys that AWS does not promise to read.

    If no record of the source has a key of the pattern, the pattern was probably written for another source.
    AWS is known to read `eventName` of DynamoDB, because examples in its own pages filter by it.
    """
    data_key = _data_key(mapping.options.event_source_arn)
    for index, pattern in enumerate(mapping.options.filters):
        keys = metadata_keys(pattern, data_key=data_key)
        at = dotted(mapping.at(*_keys(index)))
        if missing := [key for key in keys if key not in _METADATA[data_key]]:
            yield f"{at}: no record of this source has {', '.join(missing)}; its data are under {data_key}"
        if data_key == "dynamodb" and (why := mismatch(pattern)):
            yield f"{at}: no record matches it: {why}"
        if there := [key for key in keys if key in _METADATA[data_key] and (data_key, key) not in _KNOWN_TO_WORK]:
            yield (
                f"{at}: AWS promises to filter this source by {data_key} only, "
                f"but poller also filters by {', '.join(there)}"
            )


def _keys(index: int) -> Path:
    return ("filter_criteria", "filters", index, "pattern")


def _data_key(source: Arn | None) -> DataKey:
    return "body" if source is None else data_key_of(source)


def _explained(invalid: InvalidPattern, written: Any) -> str:
    """Return the rule with its detail. The detail is left out if it might show a value of the environment."""
    detail = "" if _is_substituted(written) else str(invalid).removeprefix(INVALID_PATTERN).strip()
    return f"{INVALID_PATTERN} {detail}".strip()


def _is_substituted(node: Any) -> bool:
    if isinstance(node, dict):
        return any(_is_substituted(value) for value in node.values())
    if isinstance(node, list):
        return any(_is_substituted(value) for value in node)
    return isinstance(node, Substituted)
