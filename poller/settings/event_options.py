"""Which options has a function for its asynchronous events? AWS's options under AWS's names, and two of our own.

They are in `[functions.NAME.event_invoke_config]` and `[functions.NAME.dead_letter_config]`.
`event_rules.py` has the rules between these options and the rest of the file.
Source: AWS Lambda API Reference, "PutFunctionEventInvokeConfig" and "DeadLetterConfig".
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from poller.model.arn import Arn
from poller.model.function import EventDestination, EventInvokeConfig
from poller.model.ids import FunctionName
from poller.settings.arns import DeadLetterArn, EventQueueArn, FailureDestination, SuccessDestination, kinds
from poller.settings.options import OURS, Options, Range, Unstated, built, explained, rule_error

API = 'AWS Lambda API Reference, "PutFunctionEventInvokeConfig"'

RETRY_WAIT = Range(0, 21_600, "seconds", source="ours: no event is older than 21,600 seconds", is_whole=False)


def _two(waits: list[float]) -> list[float]:
    if len(waits) != 2:
        raise rule_error("must be two numbers: the waits before the first and before the second retry")
    return waits


def _waits_of_aws() -> list[float]:
    return [60, 120]


class OnSuccessOptions(Options):
    """The destination of events that succeeded."""

    destination: Annotated[
        SuccessDestination,
        Unstated("no destination"),
        explained(f"""
            Where the invocation record of an event goes that succeeded: another key of [functions], or the ARN of
            {kinds("on_success")}.
            Default: nowhere.
        """),
    ]


class OnEventFailureOptions(Options):
    """The destination of events that failed."""

    destination: Annotated[
        FailureDestination,
        Unstated("no destination"),
        explained(f"""
            Where the invocation record of an event goes that failed: another key of [functions], or the ARN of
            {kinds("on_failure")}.
            An event whose destination refuses its record for good is kept as stuck, until a person retries or drops it.
            Default: nowhere.
        """),
    ]


class EventDestinationsOptions(Options):
    """The destinations of events that have ended."""

    on_success: OnSuccessOptions | None = None
    """For events that succeeded."""

    on_failure: OnEventFailureOptions | None = None
    """For events that failed, or became too old."""


class EventInvokeConfigOptions(Options):
    """What becomes of the asynchronous events of a function."""

    maximum_retry_attempts: Annotated[int | None, Range(0, 2, "attempts", source=API), Unstated("2")] = None
    """How often an event is tried again after the function failed with it, from 0 to 2.
    Throttles and errors of the service do not count.
    Default: 2."""

    maximum_event_age_in_seconds: Annotated[int | None, Range(60, 21_600, "seconds", source=API), Unstated("21600")] = (
        None
    )
    """How old an event may get before it counts as failed, from 60 to 21600 seconds.
    Default: 21600, six hours."""

    destination_config: EventDestinationsOptions = Field(default_factory=EventDestinationsOptions)
    """Where the records of ended events go."""

    event_queue_arn: Annotated[EventQueueArn | None, OURS, Unstated("the file of [daemon] event_queue")] = None
    """A standard SQS queue that holds the function's events until they have ended: any number of daemons may share it.
    S3, SNS and EventBridge may send to it, too: the function gets their messages as Lambda would have passed them.
    It serves this function only, is the source of no mapping, and has no dead-letter queue of its own.
    If this option changes, the daemon takes the events of the former queue until that queue was empty for ten minutes.
    `poller events forget` lets the daemon forget a former queue that cannot be read any more.
    Default: the file of [daemon] event_queue."""

    retry_waits_in_seconds: Annotated[list[Annotated[float, RETRY_WAIT]], AfterValidator(_two), OURS] = Field(
        default_factory=_waits_of_aws
    )
    """The waits before the first and before the second retry, in seconds; AWS's are the default.
    Default: [60, 120]."""


class DeadLetterConfigOptions(Options):
    """The dead-letter queue of a function."""

    target_arn: Annotated[
        DeadLetterArn | None,
        Unstated("no dead-letter queue"),
        explained(f"""
            Where each failed event goes as it was sent, beside the destination: {kinds("dead_letter")}.
            Default: nowhere.
        """),
    ] = None


def event_invoke_config(events: EventInvokeConfigOptions, dead_letters: DeadLetterConfigOptions) -> EventInvokeConfig:
    """Return these options as the value of model/ that the program uses."""
    declared = events.destination_config
    return built(
        EventInvokeConfig,
        events,
        on_success=None if declared.on_success is None else _destination(declared.on_success.destination),
        on_failure=None if declared.on_failure is None else _destination(declared.on_failure.destination),
        dead_letter_arn=dead_letters.target_arn,
    )


def _destination(written: Arn | str) -> EventDestination:
    return FunctionName(written) if isinstance(written, str) else written
