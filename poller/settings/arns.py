"""Which ARNs may an option have? Each use has a type: a source, a function, a destination, a role.

`RECEIVERS` says for each kind of destination what its ARN looks like and which options take it.
Each function checks one value and returns it as an `Arn`. If the value breaks a rule, the function raises an error
that states the rule (`rule_error`).
"""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple

from pydantic import BeforeValidator, WithJsonSchema

from poller.model.arn import Arn
from poller.model.event import Delivery
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
    """Return the text of the rule that a value which is not an ARN breaks.

    If the value is a queue's url, the text shows the queue's ARN, unless the url has a value of the environment.
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
    if not _has_region_and_account(arn):
        raise rule_error("Unrecognized event source. The ARN needs a region and an account of twelve digits")
    shape, pattern = _SOURCES[arn.service]
    if not re.fullmatch(pattern, arn.resource):
        raise rule_error(f"Unrecognized event source. An ARN of {arn.service} ends in {shape}")
    return arn


def _has_region_and_account(arn: Arn) -> bool:
    return bool(re.fullmatch(r"[a-z0-9-]+", arn.region) and re.fullmatch(r"\d{12}", arn.account))


def _function_arn(text: object) -> Arn:
    arn = _arn(text)
    if arn.service != "lambda" or not re.fullmatch(_FUNCTION_RESOURCE, arn.resource) or not arn.region:
        raise rule_error("must be a Lambda function's ARN: arn:aws:lambda:region:account:function:name[:qualifier]")
    return arn


Use = Delivery | Literal["discarded_batch", "event_queue"]
"""The use of a receiver: it gets documents about events or discarded batches, or stores events."""


class Receiver(NamedTuple):
    """A kind of AWS resource to which documents are sent: one row of `RECEIVERS`.

    `kind` is its name in messages, and `ending` describes the end of its ARN there. `pattern` matches this end.
    `action` is the permission that sending needs, and `purpose` names it in a policy (`poller iam`).
    Only options for one of `uses` may name such a resource.
    """

    kind: str
    ending: str
    pattern: str
    action: str
    purpose: str
    uses: frozenset[Use]


RECEIVERS = {
    "sqs": Receiver(
        "a standard SQS queue",
        "region:account:queue-name",
        r"[A-Za-z0-9_-]{1,80}",
        "sqs:SendMessage",
        "SendToQueues",
        frozenset({"discarded_batch", "on_success", "on_failure", "dead_letter", "event_queue"}),
    ),
    "sns": Receiver(
        "a standard SNS topic",
        "region:account:topic-name",
        r"[A-Za-z0-9_-]{1,256}",
        "sns:Publish",
        "PublishToTopics",
        frozenset({"discarded_batch", "on_success", "on_failure", "dead_letter"}),
    ),
    "lambda": Receiver(
        "a Lambda function",
        "region:account:function:name[:qualifier]",
        _FUNCTION_RESOURCE,
        "lambda:InvokeFunction",
        "InvokeDestinations",
        frozenset({"on_success", "on_failure"}),
    ),
    "events": Receiver(
        "an EventBridge bus",
        "region:account:event-bus/name",
        r"event-bus/[A-Za-z0-9._/-]{1,256}",
        "events:PutEvents",
        "PutEvents",
        frozenset({"on_success", "on_failure"}),
    ),
    "s3": Receiver(
        "an S3 bucket",
        "::bucket-name, without a prefix",
        r"[A-Za-z0-9._-]{3,255}",
        "s3:PutObject",
        "PutRecords",
        frozenset({"discarded_batch", "on_failure"}),
    ),
}
"""The receivers by the service in their ARN, which is also botocore's name of the service.

Source of the uses: AWS Lambda Developer Guide, "Retain discarded batch records" (`discarded_batch`); AWS Lambda API
Reference, "OnSuccess", "OnFailure" and "DeadLetterConfig".
"""


def kinds(use: Use) -> str:
    """Return a text that lists the kinds of resource for this use."""
    *others, last = [receiver.kind for receiver in RECEIVERS.values() if use in receiver.uses]
    return f"{', '.join(others)} or {last}" if others else last


def _receiver_arn(text: object, role: str, use: Use) -> Arn:
    """Return the ARN of a receiver that has this use. `role` is the use in words, as in "a destination"."""
    arn = _arn(text)
    receiver = RECEIVERS.get(arn.service)
    if receiver is None or use not in receiver.uses:
        raise rule_error(f"{role} is {kinds(use)}")
    if arn.service in ("sqs", "sns") and arn.resource.endswith(".fifo"):
        raise rule_error(f"a FIFO {'queue' if arn.service == 'sqs' else 'topic'} cannot be {role}")
    if len(str(arn)) > MAXIMUM_DESTINATION_ARN_CHARACTERS:
        raise rule_error(f"{role}'s ARN has at most {MAXIMUM_DESTINATION_ARN_CHARACTERS} characters")
    if not re.fullmatch(receiver.pattern, arn.resource) or _has_region_and_account(arn) == (arn.service == "s3"):
        raise rule_error(f"{role}'s ARN of {arn.service} ends in {receiver.ending}")
    return arn


def _destination_arn(text: object) -> Arn:
    return _receiver_arn(text, "a destination", "discarded_batch")


def _success_destination(text: object) -> Arn | str:
    return _event_destination(text, "on_success")


def _failure_destination(text: object) -> Arn | str:
    return _event_destination(text, "on_failure")


def _event_destination(text: object, use: Use) -> Arn | str:
    """Return the ARN, or the name if the text has the form of a function's name."""
    if isinstance(text, str) and re.fullmatch(_NAME, text):
        return text
    if isinstance(text, str) and not text.startswith("arn:") and "://" not in text:
        raise rule_error("is neither an ARN nor a key of [functions]")
    return _receiver_arn(text, "a destination", use)


def _dead_letter_arn(text: object) -> Arn:
    return _receiver_arn(text, "a dead-letter target", "dead_letter")


def _event_queue_arn(text: object) -> Arn:
    return _receiver_arn(text, "an event queue", "event_queue")


def checked_role_arn(text: object) -> str:
    arn = _arn(text)
    if arn.service != "iam" or not arn.resource.startswith("role/"):
        raise rule_error("must be a role's ARN: arn:aws:iam::account:role/name")
    return str(arn)


_TEXT_SCHEMA = {"type": "string"}

SourceArn = Annotated[Arn, BeforeValidator(_source_arn), WithJsonSchema(_TEXT_SCHEMA)]
FunctionArn = Annotated[Arn, BeforeValidator(_function_arn), WithJsonSchema(_TEXT_SCHEMA)]
DestinationArn = Annotated[Arn, BeforeValidator(_destination_arn), WithJsonSchema(_TEXT_SCHEMA)]
RoleArn = Annotated[str, BeforeValidator(checked_role_arn), WithJsonSchema(_TEXT_SCHEMA)]
SuccessDestination = Annotated[Arn | str, BeforeValidator(_success_destination), WithJsonSchema(_TEXT_SCHEMA)]
FailureDestination = Annotated[Arn | str, BeforeValidator(_failure_destination), WithJsonSchema(_TEXT_SCHEMA)]
DeadLetterArn = Annotated[Arn, BeforeValidator(_dead_letter_arn), WithJsonSchema(_TEXT_SCHEMA)]
EventQueueArn = Annotated[Arn, BeforeValidator(_event_queue_arn), WithJsonSchema(_TEXT_SCHEMA)]
