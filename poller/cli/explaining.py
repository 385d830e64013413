"""What does `poller explain` do? It says what a mapping would do with a record, step by step, and calls nothing.

the file's text ── records.py ──> records ── the mapping's filters, leaf by leaf ── first_event.py ──> the event
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import orjson
import typer

from poller.cli.as_json import AsJson, print_json
from poller.cli.ending import Config, counted, examined, refused
from poller.cli.first_event import FirstEvent, event_of, first_event
from poller.cli.records import AnyRecord, UnusableRecord, records_in, shown
from poller.core.batching import MAXIMUM_EVENT_BYTES
from poller.core.filtering import DataKey, ExplainedLeaf, ExplainedPattern, data_key_of, has_document
from poller.core.filtering import explain as explained
from poller.core.names import other_names
from poller.model.mapping import QueueMapping, StreamMapping

AnyMapping = QueueMapping | StreamMapping

MappingArgument = Annotated[str, typer.Argument(metavar="MAPPING", help="A key of [mappings].")]
RecordOption = Annotated[str, typer.Option("--record", metavar="FILE", help="The record; - reads standard input.")]

LONGEST_VALUE = 60
"""How many characters of a record's value the lines for a person show. The rest is cut off."""


class ExplainedRecord(NamedTuple):
    """A record with the explanation of each filter. Without filters, every record matches."""

    record: AnyRecord
    filters: tuple[ExplainedPattern, ...]

    @property
    def matches(self) -> bool:
        return not self.filters or any(one.matches for one in self.filters)


def explain(
    name: MappingArgument,
    record: RecordOption,
    config: Config = Path("poller.toml"),
    as_json: AsJson = False,
) -> None:
    """Say what a mapping would do with a record: which filters match, and which event the function would get.

    Example: `poller explain new_users --record message.json`

    Example: `aws sqs receive-message --queue-url … | poller explain new_users --record -`

    The file may hold an event of Lambda, one of its records, or what the AWS CLI prints for received messages or read
    records. Any other text is the body of a message, or the data of a Kinesis record.

    Nothing is invoked, and no request is sent.
    """
    mapping = mapping_named(name, config)
    records = [
        ExplainedRecord(one, explained(mapping.filters, one, data_key=data_key_of(mapping.event_source_arn)))
        for one in read_records(record, mapping)
    ]
    if as_json:
        print_json(_for_programs(mapping, records))
        return
    for line in _lines(mapping, records):
        typer.echo(line)


def mapping_named(name: str, config: Path) -> AnyMapping:
    """Return the mapping of this name. Ends the program with exit code 2 if the settings have none."""
    mappings = {str(mapping.name): mapping for mapping in examined(config, prints_warnings=False).settings.mappings}
    if name not in mappings:
        raise refused(f"{config} has no mapping {name}; {other_names(name, mappings)}", code=2)
    return mappings[name]


def read_records(path: str, mapping: AnyMapping) -> Sequence[AnyRecord]:
    """Return the records of the file. Ends the program with exit code 2 if it cannot be read, or has none."""
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        return records_in(raw.decode(), mapping)
    except OSError as error:
        raise refused(f"{path}: {error.strerror}", code=2) from None
    except UnicodeDecodeError as error:
        raise refused(f"{path}: byte {error.start + 1} is not UTF-8", code=2) from None
    except UnusableRecord as error:
        raise refused(f"{path}: {error}", code=2) from None


def _lines(mapping: AnyMapping, records: Sequence[ExplainedRecord]) -> Iterator[str]:
    yield f"{mapping.name}: {mapping.event_source_arn} to the function {mapping.function_name}"
    for number, one in enumerate(records, start=1):
        yield ""
        yield f"record {number} of {len(records)}"
        yield from _filter_lines(one, data_key_of(mapping.event_source_arn))
        if not one.matches:
            fate = "deleted from the queue" if isinstance(mapping, QueueMapping) else "passed over"
            yield f"  The record matches no filter: it is {fate}, and the function is not invoked with it."
    kept = [one.record for one in records if one.matches]
    if not kept:
        return
    event = first_event(kept, mapping)
    yield ""
    yield f"The function gets {counted(len(event.records), 'record')} in an event of {len(event.encoded):,} bytes."
    if later := len(kept) - len(event.records):
        yield f"Later tumbling windows get {counted(later, 'record')}, in events that are not shown."
    yield from _division_lines(event, mapping)
    yield shown(orjson.loads(event.encoded))


def _division_lines(event: FirstEvent, mapping: AnyMapping) -> Iterator[str]:
    """Yield why the mapping would not send the records in one event."""
    if any(len(event_of([record])) > MAXIMUM_EVENT_BYTES for record in event.records):
        yield f"An event has at most {MAXIMUM_EVENT_BYTES:,} bytes, and a record is larger. It is sent in an event of"
        yield "its own. Lambda refuses this event, which counts as a failed attempt."
    elif len(event.encoded) > event.limit_in_bytes:
        yield f"An event has at most {event.limit_in_bytes:,} bytes, so the records are divided into several events."
    if len(event.records) > mapping.batch_size:
        yield f"The mapping's batch_size is {mapping.batch_size}, so the records are divided into several events."


def _filter_lines(one: ExplainedRecord, data_key: DataKey) -> Iterator[str]:
    unusable = None if has_document(one.record, data_key) else data_key
    if not one.filters:
        yield "  The mapping has no filters, so every record matches."
    for number, pattern in enumerate(one.filters, start=1):
        yield f"  filter {number} {_verdict(pattern.matches)}: {pattern.text}"
        for index, choice in enumerate(pattern.choices, start=1):
            if len(pattern.choices) > 1:
                yield f"    choice {index} of {len(pattern.choices)} of $or {_verdict(choice.matches)}"
            for leaf in choice.leaves:
                yield f"    {'ok' if leaf.matches else 'no'}  {leaf.path}: {leaf.accepted}; {_found(leaf, unusable)}"
            if not choice.matches and all(leaf.matches for leaf in choice.leaves):
                yield "    Each key matches alone, but no single element of the array has all of these values."
            if choice.matches and not all(leaf.matches for leaf in choice.leaves):
                yield "    An element of the array has the other values and lacks the keys that must not exist."


def _verdict(matches: bool) -> str:
    return "matches" if matches else "does not match"


def _found(leaf: ExplainedLeaf, unusable: str | None) -> str:
    """Return what the record has for the leaf. `unusable` is its data key if the data are not JSON, or else None."""
    if unusable is not None and leaf.path.startswith(f"{unusable}."):
        return f"the {unusable} is not a JSON object or array"
    if not leaf.found:
        return "the record has no such key"
    return f"the record has {', '.join(map(_short, leaf.found))}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _for_programs(mapping: AnyMapping, records: Sequence[ExplainedRecord]) -> dict[str, Any]:
    kept = [one.record for one in records if one.matches]
    event = first_event(kept, mapping) if kept else None
    return {
        "mapping": mapping.name,
        "source": str(mapping.event_source_arn),
        "function": mapping.function_name,
        "records": [
            {
                "matches": one.matches,
                "filters": [
                    {
                        "pattern": pattern.text,
                        "matches": pattern.matches,
                        "choices": [
                            {"matches": choice.matches, "leaves": [_leaf_for_programs(leaf) for leaf in choice.leaves]}
                            for choice in pattern.choices
                        ],
                    }
                    for pattern in one.filters
                ],
            }
            for one in records
        ],
        "event": None if event is None else orjson.loads(event.encoded),
        "event_bytes": None if event is None else len(event.encoded),
    }


def _leaf_for_programs(leaf: ExplainedLeaf) -> dict[str, Any]:
    """Return the leaf with the text "Infinity" for a number that is too large for a float: JSON has no infinity."""
    return leaf._asdict() | {"found": json.loads(json.dumps(leaf.found), parse_constant=str)}
