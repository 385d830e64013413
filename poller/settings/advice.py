"""Which settings are allowed, but probably a mistake? The person who wrote the file gets one sentence for each."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from poller.core.names import nearest
from poller.model.arn import stream_arn
from poller.model.function import Function
from poller.model.ids import FunctionName
from poller.settings.event_rules import destinations
from poller.settings.file import File
from poller.settings.filters import filter_advice
from poller.settings.functions import FunctionOptions
from poller.settings.mappings import MappingOptions
from poller.settings.reading import Entry
from poller.settings.references import Functions
from poller.settings.table import as_toml, dotted

FEWEST_TOKEN_CHARACTERS = 16
"""A stranger may guess a shorter token. 16 random letters and digits have 95 bits."""


def advice(file: File, functions: Functions) -> Iterator[str]:
    """Yield the warnings. The file must have no faults."""
    if not file.mappings and (not file.functions or not _is_invoked_by_others(file)):
        yield "mappings: there are none, so there is nothing to do"
    token = file.daemon.options.admin_token
    if token is not None and len(token) < FEWEST_TOKEN_CHARACTERS:
        at = dotted(file.daemon.at("admin_token"))
        yield f"{at}: has fewer than {FEWEST_TOKEN_CHARACTERS} characters, so a stranger may guess it"
    used = _used(file, functions)
    for name in file.functions:
        if name not in used:
            yield f"{dotted(('functions', name))}: no mapping uses it"
    for function in file.functions.values():
        yield from _equal_urls(function)
        yield from _more_than_the_emulators(function, functions)
        yield from _unused_event_settings(function, file)
    for mapping in file.mappings.values():
        yield from _mapping_advice(mapping, functions.by_name[functions.of_mapping[mapping.name]], file.functions)
    yield from _twice_advice(file, functions)


def _is_invoked_by_others(file: File) -> bool:
    """Return whether a function may be invoked without a mapping: by clients of the API or by senders of events."""
    has_senders = any(one.options.event_invoke_config.event_queue_arn is not None for one in file.functions.values())
    return file.daemon.options.api_listen is not None or has_senders


def _used(file: File, functions: Functions) -> Collection[str]:
    """Return the functions that something in the file can invoke."""
    if file.daemon.options.api_listen is not None:
        return file.functions.keys()
    used: set[str] = set(functions.of_mapping.values())
    for name, function in file.functions.items():
        if function.options.event_invoke_config.event_queue_arn is not None:
            used.add(name)
        used.update(destination for _, destination in destinations(function) if isinstance(destination, str))
    return used


def _unused_event_settings(function: Entry[FunctionOptions], file: File) -> Iterator[str]:
    daemon = file.daemon.options
    if daemon.state != "memory:" or daemon.event_queue is not None:
        return
    for option in ("event_invoke_config", "dead_letter_config"):
        if function.states(option):
            at = dotted(function.at(option))
            yield f'{at}: is never used, because state is "memory:" and event_queue names no file'


def _equal_urls(function: Entry[FunctionOptions]) -> Iterator[str]:
    urls = function.options.urls or []
    for index, url in enumerate(urls):
        if (first := urls.index(url)) != index:
            yield f"{dotted(function.at('urls', index))}: is the same as urls[{first}]"


def _more_than_the_emulators(function: Entry[FunctionOptions], functions: Functions) -> Iterator[str]:
    stated = function.options.reserved_concurrency
    if stated is not None and stated > functions.by_name[FunctionName(function.name)].reserved_concurrency:
        at = f"{dotted(function.at('reserved_concurrency'))} = {stated}"
        yield f"{at}: is never reached, because an emulator takes one call at a time"


def _mapping_advice(mapping: Entry[MappingOptions], function: Function, keys: Collection[str]) -> Iterator[str]:
    """Yield the warnings about one mapping. `keys` are the keys of [functions]."""
    options = mapping.options

    def shown(*option: str) -> str:
        return f"{dotted(mapping.at(*option))} = {as_toml(mapping.written(*option))}"

    reference = options.function_name or ""
    if reference not in keys and ":" not in reference and (key := nearest(reference, keys)):
        yield (
            f"{shown('function_name')}: means a function of AWS Lambda, "
            f"because [functions] has no such key; did you mean {key}?"
        )
    wanted, limit = options.scaling_config.maximum_concurrency, function.reserved_concurrency
    if wanted is not None and wanted > limit:
        at = shown("scaling_config", "maximum_concurrency")
        yield f"{at}: is never reached, because the function's reserved_concurrency is {limit}"
    source = options.event_source_arn
    if source is not None and options.region not in (None, source.region):
        yield f"{shown('region')}: is not the region in event_source_arn, where AWS would look"
    has_no_limit = options.maximum_retry_attempts is options.maximum_record_age_in_seconds is None
    if options.destination_config.on_failure is not None and has_no_limit:
        at = dotted(mapping.at("destination_config"))
        why = "neither maximum_retry_attempts nor maximum_record_age_in_seconds is limited"
        yield f"{at}: gets only what a person discards, because {why}"
    yield from filter_advice(mapping)


def _twice_advice(file: File, functions: Functions) -> Iterator[str]:
    """Yield a warning for each mapping whose function also gets the same records from an earlier mapping.

    For AWS, a stream and its consumer are two sources, so no rule forbids this. But both have the same records.
    """
    pairs: dict[tuple[str, str], str] = {}
    for name, mapping in file.mappings.items():
        function, source = functions.identity(name), mapping.options.event_source_arn
        if function is None or source is None or not mapping.options.enabled:
            continue
        first = pairs.setdefault((stream_arn(source), function), name)
        if first != name:
            at = dotted(mapping.path)
            yield f"{at}: its function gets each record twice, because mappings.{first} reads the same stream for it"
