"""Which rules hold between the asynchronous events of a function and the rest of the file?

    destination       a key of [functions], or an ARN; never the function itself, nor its own event queue
    dead_letter       never the function's own event queue
    event_queue_arn   serves one function, and is the source of no mapping: otherwise both would take the same messages
                      needs the file of [daemon] event_queue, too: the file keeps an ended event until its destination
                      accepts the record

A message uses AWS's own words if they are known.
Source: AWS Lambda API Reference, "PutFunctionEventInvokeConfig".
"""

from __future__ import annotations

from collections.abc import Iterator

from poller.core.names import nearest
from poller.model.arn import Arn, unqualified
from poller.model.function import Function
from poller.model.ids import FunctionName
from poller.settings.faults import Fault
from poller.settings.file import File
from poller.settings.functions import FunctionOptions
from poller.settings.reading import Entry
from poller.settings.references import Functions
from poller.settings.table import Path

ITSELF = "You can't specify the function as a destination for itself."


def event_rules(file: File, functions: Functions) -> Iterator[Fault]:
    for function in file.functions.values():
        yield from _destination_rules(function, functions)
    yield from _queue_rules(file)


def named_arns(function: Entry[FunctionOptions]) -> Iterator[tuple[Path, Arn]]:
    """Yield the ARNs of AWS resources that the function's events use, each with its path."""
    queue, at = _event_queue(function)
    for path, named in (*destinations(function), (at, queue)):
        if isinstance(named, Arn):
            yield path, named


def destinations(function: Entry[FunctionOptions]) -> Iterator[tuple[Path, Arn | str]]:
    """Yield the destinations of the function's events and its dead-letter queue, each with its path."""
    declared = function.options.event_invoke_config.destination_config
    at = function.at("event_invoke_config", "destination_config")
    if declared.on_success is not None:
        yield (*at, "on_success", "destination"), declared.on_success.destination
    if declared.on_failure is not None:
        yield (*at, "on_failure", "destination"), declared.on_failure.destination
    dead_letters = function.options.dead_letter_config.target_arn
    if dead_letters is not None:
        yield function.at("dead_letter_config", "target_arn"), dead_letters


def _destination_rules(function: Entry[FunctionOptions], functions: Functions) -> Iterator[Fault]:
    own_queue, _ = _event_queue(function)
    for path, destination in destinations(function):
        if destination == function.name or _is(destination, functions.by_name.get(FunctionName(function.name))):
            yield Fault(path, ITSELF)
        elif isinstance(destination, str) and destination not in functions.stated:
            meant = nearest(destination, functions.stated)
            yield Fault(path, "is not a key of [functions]" + (f"; did you mean {meant}?" if meant else ""))
        elif destination == own_queue:
            yield Fault(path, "is the function's own event_queue_arn, so the function would get it as an event")


def _is(destination: Arn | str, function: Function | None) -> bool:
    """Return whether this is the ARN of the function, with any qualifier or none."""
    if function is None or isinstance(destination, str):
        return False
    return unqualified(destination) == unqualified(function.arn)


def _queue_rules(file: File) -> Iterator[Fault]:
    daemon = file.daemon
    has_file = daemon.options.state != "memory:" or daemon.options.event_queue is not None
    readers: dict[Arn, str] = {}
    for mapping in file.mappings.values():
        if mapping.options.event_source_arn is not None:
            readers.setdefault(mapping.options.event_source_arn, f"the source of mappings.{mapping.name}")
    for function in file.functions.values():
        arn, path = _event_queue(function)
        if arn is None:
            continue
        if not has_file:
            rule = (
                'needs a file for the events that have ended: set event_queue in [daemon], because state is "memory:"'
            )
            yield Fault(path, rule, needs=(daemon.at("state"), daemon.at("event_queue")))
        if arn in readers:
            yield Fault(path, f"is already {readers[arn]}; both would take the same messages")
        readers.setdefault(arn, f"the event queue of functions.{function.name}")


def _event_queue(function: Entry[FunctionOptions]) -> tuple[Arn | None, Path]:
    return function.options.event_invoke_config.event_queue_arn, function.at("event_invoke_config", "event_queue_arn")
