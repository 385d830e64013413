"""Which ARNs may an option have? One type for each use: a source, a function, a destination, a role.

Each function checks one value. It returns the `Arn`, or raises the broken rule (`rule_error`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema

from poller.model.arn import Arn
from poller.settings.fields import MAXIMUM_NAME_CHARACTERS
from poller.settings.options import rule_error
from poller.settings.table import Substituted

MAXIMUM_DESTINATION_ARN_CHARACTERS = 350
"""Source: AWS Lambda API Reference, "OnFailure"."""

_NAME = rf"[A-Za-z0-9_-]{{1,{MAXIMUM_NAME_CHARACTERS}}}"
_FUNCTION_RESOURCE = rf"function:{_NAME}(:(\$LATEST|[A-Za-z0-9_-]{{1,128}}))?"


def _arn(text: object) -> Arn:
    try:
        return Arn.parse(text if isinstance(text, str) else "")
    except ValueError:
        raise rule_error(_no_arn(text)) from None


_QUEUE_URL = re.compile(
    r"https?://(?:sqs\.(?P<region>[a-z0-9-]+)|(?P<legacy>[a-z0-9-]+)\.queue)\.amazonaws\.com(?P<china>\.cn)?"
    r"/(?P<account>\d{12})/(?P<name>[A-Za-z0-9_.-]+)"
)


def _no_arn(text: object) -> str:
    """Return the rule for a value that is not an ARN.

    For a queue's url, the rule shows the queue's ARN. A url with a value of the environment is not shown.
    """
    if not isinstance(text, str) or "://" not in text:
        return "is not an ARN (arn:partition:service:region:account:resource)"
    queue = None if isinstance(text, Substituted) else _QUEUE_URL.fullmatch(text)
    if queue is None:
        return "is not an ARN but a url; a queue's ARN is as in arn:aws:sqs:eu-west-1:123456789012:queue-name"
    partition, region = "aws-cn" if queue["china"] else "aws", queue["region"] or queue["legacy"]
    return (
        f"is not an ARN but a queue's url; its ARN is arn:{partition}:sqs:{region}:{queue['account']}:{queue['name']}"
    )


_SOURCES = {
    "sqs": ("queue-name or queue-name.fifo", r"[A-Za-z0-9_-]{1,80}(\.fifo)?"),
    "kinesis": (
        "stream/NAME or stream/NAME/consumer/CONSUMER:CREATED",
        r"stream/[A-Za-z0-9_.-]{1,128}(/consumer/[A-Za-z0-9_.-]{1,128}:\d+)?",
    ),
    "dynamodb": (
        "table/NAME/stream/LABEL, where LABEL is when the stream was enabled, as in 2026-01-31T12:00:00.000 "
        "(DescribeTable tells the whole ARN, as LatestStreamArn)",
        r"table/[A-Za-z0-9_.-]{3,255}/stream/[0-9T:.-]+",
    ),
}
"""The end of a source's ARN for each service: how a message describes it, and its pattern."""


def _source_arn(text: object) -> Arn:
    """Return the ARN of a queue or stream. Source: AWS Lambda API Reference, "CreateEventSourceMapping"."""
    arn = _arn(text)
    if arn.service not in _SOURCES:
        raise rule_error("Unrecognized event source. It must be an SQS queue, a Kinesis stream or a DynamoDB stream")
    if not _has_place(arn):
        raise rule_error("Unrecognized event source. The ARN needs a region and an account of twelve digits")
    shape, pattern = _SOURCES[arn.service]
    if not re.fullmatch(pattern, arn.resource):
        raise rule_error(f"Unrecognized event source. An ARN of {arn.service} ends in {shape}")
    return arn


def _has_place(arn: Arn) -> bool:
    return bool(re.fullmatch(r"[a-z0-9-]+", arn.region) and re.fullmatch(r"\d{12}", arn.account))


def _function_arn(text: object) -> Arn:
    arn = _arn(text)
    if arn.service != "lambda" or not re.fullmatch(_FUNCTION_RESOURCE, arn.resource) or not arn.region:
        raise rule_error("must be a Lambda function's ARN: arn:aws:lambda:region:account:function:name[:qualifier]")
    return arn


class Receiver(NamedTuple):
    """A kind of AWS resource that documents are sent to.

    `kind` says what it is, `ending` what its ARN ends in, for a message. `pattern` is the pattern of its resource.
    """

    kind: str
    ending: str
    pattern: str


_RECEIVERS = {
    "sqs": Receiver("a standard SQS queue", "region:account:queue-name", r"[A-Za-z0-9_-]{1,80}"),
    "sns": Receiver("a standard SNS topic", "region:account:topic-name", r"[A-Za-z0-9_-]{1,256}"),
    "lambda": Receiver("a Lambda function", "region:account:function:name[:qualifier]", _FUNCTION_RESOURCE),
    "events": Receiver("an EventBridge bus", "region:account:event-bus/name", r"event-bus/[A-Za-z0-9._/-]{1,256}"),
    "s3": Receiver("an S3 bucket", "::bucket-name, without a prefix", r"[A-Za-z0-9._-]{3,255}"),
}


def _receiver_arn(text: object, role: str, services: Sequence[str]) -> Arn:
    """Return the ARN of a receiver of one of these services. `role` says what it is for, as in "a destination"."""
    arn = _arn(text)
    if arn.service not in services:
        *others, last = [_RECEIVERS[service].kind for service in services]
        raise rule_error(f"{role} is {', '.join(others)} or {last}" if others else f"{role} is {last}")
    if arn.service in ("sqs", "sns") and arn.resource.endswith(".fifo"):
        raise rule_error(f"a FIFO {'queue' if arn.service == 'sqs' else 'topic'} cannot be {role}")
    if len(str(arn)) > MAXIMUM_DESTINATION_ARN_CHARACTERS:
        raise rule_error(f"{role}'s ARN has at most {MAXIMUM_DESTINATION_ARN_CHARACTERS} characters")
    receiver = _RECEIVERS[arn.service]
    if not re.fullmatch(receiver.pattern, arn.resource) or _has_place(arn) == (arn.service == "s3"):
        raise rule_error(f"{role}'s ARN of {arn.service} ends in {receiver.ending}")
    return arn


def _destination_arn(text: object) -> Arn:
    """Return the ARN of a mapping's destination.

    Source: AWS Lambda Developer Guide, "Retain discarded batch records".
    """
    return _receiver_arn(text, "a destination", ("sqs", "sns", "s3"))


def _success_destination(text: object) -> Arn | str:
    return _event_destination(text, ("sqs", "sns", "lambda", "events"))


def _failure_destination(text: object) -> Arn | str:
    return _event_destination(text, ("sqs", "sns", "lambda", "events", "s3"))


def _event_destination(text: object, services: Sequence[str]) -> Arn | str:
    """Return the ARN, or the name if the text has the form of a function's name.

    Source: AWS Lambda API Reference, "OnSuccess" and "OnFailure".
    """
    if isinstance(text, str) and re.fullmatch(_NAME, text):
        return text
    if isinstance(text, str) and not text.startswith("arn:") and "://" not in text:
        raise rule_error("is neither an ARN nor a key of [functions]")
    return _receiver_arn(text, "a destination", services)


def _dead_letter_arn(text: object) -> Arn:
    """Return the ARN of a dead-letter queue. Source: AWS Lambda API Reference, "DeadLetterConfig"."""
    return _receiver_arn(text, "a dead-letter target", ("sqs", "sns"))


def _event_queue_arn(text: object) -> Arn:
    return _receiver_arn(text, "an event queue", ("sqs",))


def _role_arn(text: object) -> str:
    arn = _arn(text)
    if arn.service != "iam" or not arn.resource.startswith("role/"):
        raise rule_error("must be a role's ARN: arn:aws:iam::account:role/name")
    return str(arn)


_TEXT_SCHEMA = {"type": "string"}

SourceArn = Annotated[Arn, BeforeValidator(_source_arn), WithJsonSchema(_TEXT_SCHEMA)]
FunctionArn = Annotated[Arn, BeforeValidator(_function_arn), WithJsonSchema(_TEXT_SCHEMA)]
DestinationArn = Annotated[Arn, BeforeValidator(_destination_arn), WithJsonSchema(_TEXT_SCHEMA)]
RoleArn = Annotated[str, BeforeValidator(_role_arn), WithJsonSchema(_TEXT_SCHEMA)]
SuccessDestination = Annotated[Arn | str, BeforeValidator(_success_destination), WithJsonSchema(_TEXT_SCHEMA)]
FailureDestination = Annotated[Arn | str, BeforeValidator(_failure_destination), WithJsonSchema(_TEXT_SCHEMA)]
DeadLetterArn = Annotated[Arn, BeforeValidator(_dead_letter_arn), WithJsonSchema(_TEXT_SCHEMA)]
EventQueueArn = Annotated[Arn, BeforeValidator(_event_queue_arn), WithJsonSchema(_TEXT_SCHEMA)]
