"""What does `poller try` do? It invokes a mapping's function once with some records, and says what the answer means.

The records pass the mapping's filters first. Nothing is read from the source, deleted or checkpointed. The function
runs once, even if it fails.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from poller.cli.as_json import AsJson, parsed, print_json
from poller.cli.ending import Config, counted, refused, warn
from poller.cli.explaining import (
    AnyMapping,
    MappingArgument,
    RecordOption,
    mapping_named,
    read_records,
)
from poller.cli.first_event import first_event
from poller.cli.invoking import answer_to, log_of
from poller.cli.records import AnyRecord
from poller.core.filtering import compile_filters, data_key_of
from poller.core.outcome import from_the_first, interpret, unheeded_failures
from poller.core.streams import tumbling
from poller.lambda_api.exchange import Answer
from poller.model.invocation import Answered, Response
from poller.model.mapping import QueueMapping
from poller.model.outcome import Failed, Outcome, PartlyFailed, Succeeded
from poller.targets.failures import posted


def try_record(
    name: MappingArgument,
    record: RecordOption,
    config: Config = Path("poller.toml"),
    tail: Annotated[bool, typer.Option("--tail", help="Show the end of the function's log, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Invoke a mapping's function once with a record, and say what its answer means for the record.

    Example: `poller try new_users --record message.json --tail`

    The file may hold what `poller explain` takes. Records that match no filter are left out.

    The source is not read and does not change. The running daemon calls the function; if none runs, this command does.
    """
    mapping = mapping_named(name, config)
    given = read_records(record, mapping)
    filters = compile_filters(mapping.filters, data_key=data_key_of(mapping.event_source_arn))
    matching = [one for one in given if filters.matches(one)]
    if not matching:
        raise refused("the record matches no filter of the mapping; `poller explain` says why", code=1)
    event, records, _ = first_event(matching, mapping)
    if later := len(matching) - len(records):
        warn([f"left out: {counted(later, 'record')} of later tumbling windows"])
    headers = {"X-Amz-Invocation-Type": "RequestResponse"} | ({"X-Amz-Log-Type": "Tail"} if tail else {})
    answer = answer_to(config, mapping.function_name, event, headers)
    log = log_of(answer)
    response, identifiers = _response(answer), [_identifier(one, mapping) for one in records]
    outcome = interpret(
        response,
        identifiers=identifiers,
        reports_item_failures=mapping.report_batch_item_failures,
        is_strict=mapping.strict_response,
        event=event,
    )
    if not isinstance(mapping, QueueMapping) and mapping.tumbling_window_in_seconds is not None:
        outcome = tumbling.interpret(outcome, response, is_final=False)
    advice = unheeded_failures(response, reports_item_failures=mapping.report_batch_item_failures)
    warn([] if advice is None or not isinstance(outcome, Succeeded) else [advice])
    lines = list(_lines(outcome, identifiers, mapping))
    if as_json:
        print_json(
            {
                "mapping": mapping.name,
                "function": mapping.function_name,
                "records": identifiers,
                "outcome": _name(outcome),
                "failed": _failed(outcome, identifiers, mapping),
                "in_words": lines,
                "answer": parsed(answer.body),
                "log": log,
            }
        )
    else:
        if log is not None:
            typer.echo(log, nl=False, err=True)
        typer.echo(answer.body)
        typer.echo("\n".join(lines))
    if not isinstance(outcome, Succeeded):
        raise typer.Exit(1)


def _response(answer: Answer) -> Response:
    if "X-Amz-Function-Error" in answer.headers:
        return posted(answer.body, error_type=None)
    return Answered(payload=answer.body)


def _identifier(record: AnyRecord, mapping: AnyMapping) -> str:
    """Return the id by which an answer names the record as failed."""
    if isinstance(mapping, QueueMapping):
        return str(record.get("messageId"))
    inner = record["kinesis"] if mapping.is_kinesis else record["dynamodb"]
    return str(inner.get("sequenceNumber") or inner.get("SequenceNumber"))


def _name(outcome: Outcome) -> str:
    """Return the outcome as the log and the metrics name it."""
    match outcome:
        case Succeeded():
            return "succeeded"
        case PartlyFailed():
            return "partly_failed"
        case Failed():
            return "failed"
    raise AssertionError(f"answer_to ends the program after {outcome}")


def _failed(outcome: Outcome, identifiers: Sequence[str], mapping: AnyMapping) -> Sequence[str]:
    """Return the records that would be tried again. On a stream, these are the first failed one and all after it."""
    match outcome:
        case Succeeded():
            return []
        case PartlyFailed():
            if not isinstance(mapping, QueueMapping):
                outcome = from_the_first(outcome, identifiers)
            return [one for one in identifiers if one in outcome.failed]
        case _:
            return identifiers


def _lines(outcome: Outcome, identifiers: Sequence[str], mapping: AnyMapping) -> Iterator[str]:
    """Yield what the daemon would do after this answer."""
    count = len(identifiers)
    match outcome:
        case Succeeded():
            yield f"succeeded: {counted(count, 'record')} would be done"
        case PartlyFailed():
            failed = _failed(outcome, identifiers, mapping)
            yield f"partly failed: these would be tried again, {len(failed)} of {counted(count, 'record')}:"
            yield from failed
            if isinstance(mapping, QueueMapping) and mapping.is_fifo:
                yield "later messages of the same message groups would be tried again with them"
        case Failed(reason=reason, detail=detail):
            yield f"failed: {reason}: {detail}" if detail else f"failed: {reason}"
            yield f"the whole batch would be tried again: {counted(count, 'record')}"
    if not isinstance(outcome, Succeeded):
        yield from _next(mapping)


def _next(mapping: AnyMapping) -> Iterator[str]:
    if isinstance(mapping, QueueMapping):
        backoff = mapping.redelivery_backoff
        if backoff is None:
            yield "SQS delivers a failed message again when the queue's visibility timeout is over"
        else:
            first, longest = backoff.initial_in_seconds, backoff.maximum_in_seconds
            later = f"; each later wait is longer, up to {longest} s" if longest > first else ""
            yield f"SQS delivers a failed message again after about {first} s{later}"
        return
    retries = mapping.maximum_retry_attempts
    limit = "until it succeeds or its records expire" if retries is None else f"up to {counted(retries, 'more time')}"
    halves = ", in two halves each time" if mapping.bisect_batch_on_function_error else ""
    yield f"the shard is blocked while the batch is tried again, {limit}{halves}"
