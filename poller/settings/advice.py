"""What is allowed, but probably not meant? One sentence each, for the person who wrote the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from poller.model.arn import stream_arn
from poller.model.function import Function
from poller.settings.faults import nearest
from poller.settings.file import File
from poller.settings.filters import filter_advice
from poller.settings.mappings import MappingTable
from poller.settings.references import References
from poller.settings.tree import Path, as_toml, dotted, find


def advice(file: File, references: References, tree: dict[str, Any]) -> Iterator[str]:
    """Asks for a file without faults."""
    if not file.mappings:
        yield "mappings: there are none, so there is nothing to do"
    for name in file.functions:
        if name not in references.meant.values():
            yield f"{dotted(('functions', name))}: no mapping uses it"
    for name, function_table in file.functions.items():
        yield from _equal_urls(("functions", name, "urls"), function_table.urls or [])
    for name, table in file.mappings.items():
        function = references.functions[references.meant[name]]
        yield from _mapping_advice(name, table, function, file, tree)
    yield from _twice_advice(file, references)


def _equal_urls(path: Path, urls: Sequence[str]) -> Iterator[str]:
    for index, url in enumerate(urls):
        if (first := urls.index(url)) != index:
            yield f"{dotted((*path, index))}: is the same as urls[{first}]"


def _mapping_advice(
    name: str, table: MappingTable, function: Function, file: File, tree: dict[str, Any]
) -> Iterator[str]:
    path: Path = ("mappings", name)

    def shown(*keys: str) -> str:
        return f"{dotted((*path, *keys))} = {as_toml(find(tree, (*path, *keys)))}"

    reference = table.function_name or ""
    if reference not in file.functions and ":" not in reference and (key := nearest(reference, file.functions)):
        yield (
            f"{shown('function_name')}: means a function of AWS Lambda, "
            f"as [functions] has no such key; did you mean {key}?"
        )
    wanted, limit = table.scaling_config.maximum_concurrency, function.reserved_concurrency
    if wanted is not None and wanted > limit:
        at = shown("scaling_config", "maximum_concurrency")
        yield f"{at}: is never reached, as the function's reserved_concurrency is {limit}"
    source = table.event_source_arn
    if source is not None and table.region not in (None, source.region):
        yield f"{shown('region')}: is not the region in event_source_arn, where AWS would look"
    destination = table.destination_config.on_failure.destination_arn
    if destination is not None and table.maximum_retry_attempts == table.maximum_record_age_in_seconds == -1:
        at = dotted((*path, "destination_config"))
        yield f"{at}: is never used, as neither maximum_retry_attempts nor maximum_record_age_in_seconds is limited"
    yield from filter_advice(path, table)


def _twice_advice(file: File, references: References) -> Iterator[str]:
    """AWS takes a stream and its consumer for two sources; for the function they are the same records."""
    pairs: dict[tuple[str, str], str] = {}
    for name, table in file.mappings.items():
        function, source = references.identity(name), table.event_source_arn
        if function is None or source is None or not table.enabled:
            continue
        first = pairs.setdefault((stream_arn(source), function), name)
        if first != name:
            at = dotted(("mappings", name))
            yield f"{at}: its function gets each record twice, as mappings.{first} reads the same stream for it"
