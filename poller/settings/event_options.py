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
            The receiver of the invocation record about each event that succeeded: another key of [functions], or the
            ARN of {kinds("on_success")}.
            Default: none.
        """),
    ]


class OnEventFailureOptions(Options):
    """The destination of events that failed."""

    destination: Annotated[
        FailureDestination,
        Unstated("no destination"),
        explained(f"""
            The receiver of the invocation record about each event that failed: another key of [functions], or the ARN
            of {kinds("on_failure")}.
            If the destination refuses the record permanently, the event is stuck until a person retries or drops it.
            Default: none.
        """),
    ]


class EventDestinationsOptions(Options):
    """The destinations of events that have ended."""

    on_success: OnSuccessOptions | None = None
    """The table of the destination of events that succeeded."""

    on_failure: OnEventFailureOptions | None = None
    """The table of the destination of events that failed or became too old."""


class EventInvokeConfigOptions(Options):
    """The options for the asynchronous events of a function."""

    maximum_retry_attempts: Annotated[int | None, Range(0, 2, "attempts", source=API), Unstated("2")] = None
    """How often the function is invoked again with an event after it has failed, from 0 to 2.
    Throttles and errors of the function's service do not count.
    Default: 2."""

    maximum_event_age_in_seconds: Annotated[int | None, Range(60, 21_600, "seconds", source=API), Unstated("21600")] = (
        None
    )
    """The age at which an event that has not succeeded counts as failed, from 60 to 21600 seconds.
    Default: 21600, which is six hours."""

    destination_config: EventDestinationsOptions = Field(default_factory=EventDestinationsOptions)
    """The receivers of invocation records about events."""

    event_queue_arn: Annotated[EventQueueArn | None, OURS, Unstated("the file of [daemon] event_queue")] = None
    """A standard SQS queue that holds the function's events until they have ended. Any number of daemons may share it.
    S3, SNS and EventBridge may send to it, too. The function gets their messages as it gets them from Lambda.
    The queue must serve this function only, must not be the source of a mapping, must have no redrive policy, and must
    keep messages for at least six hours. Otherwise the daemon does not start; `poller check --live` says why.
    If this option changes, the daemon still takes events from the former queue until it was empty for ten minutes.
    If the former queue cannot be read any more, `poller events forget` tells the daemon to forget it.
    Default: the file of [daemon] event_queue."""

    retry_waits_in_seconds: Annotated[list[Annotated[float, RETRY_WAIT]], AfterValidator(_two), OURS] = Field(
        default_factory=_waits_of_aws
    )
    """The waits before the first and before the second retry, in seconds. The default values are those of AWS.
    Default: [60, 120]."""


class DeadLetterConfigOptions(Options):
    """The dead-letter queue of a function."""

    target_arn: Annotated[
        DeadLetterArn | None,
        Unstated("no dead-letter queue"),
        explained(f"""
            The dead-letter queue, which gets each failed event as it was sent: {kinds("dead_letter")}.
            It is independent of the destination.
            Default: none.
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
