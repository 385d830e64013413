"""Which ARNs may an option have? One type for each role of an ARN: a source, a function, a destination, a role.

Each function checks one value. It returns the `Arn`, or raises the broken rule (`rule_error`).
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

from poller.model.arn import Arn
from poller.settings.fields import MAXIMUM_NAME_CHARACTERS
from poller.settings.options import rule_error
from poller.settings.table import Substituted

MAXIMUM_DESTINATION_ARN_CHARACTERS = 350
"""Source: AWS Lambda API Reference, "OnFailure"."""


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


_DESTINATIONS = {
    "sqs": ("region:account:queue-name", r"[A-Za-z0-9_-]{1,80}"),
    "sns": ("region:account:topic-name", r"[A-Za-z0-9_-]{1,256}"),
    "s3": ("::bucket-name, without a prefix", r"[A-Za-z0-9._-]{3,255}"),
}
"""The end of a destination's ARN for each service: how a message describes it, and the pattern of its resource."""


def _destination_arn(text: object) -> Arn:
    """Return the ARN of a destination: a standard queue, a standard topic or a bucket.

    Source: AWS Lambda Developer Guide, "Retain discarded batch records".
    """
    arn = _arn(text)
    if arn.service not in _DESTINATIONS:
        raise rule_error("a destination is a standard SQS queue, a standard SNS topic or an S3 bucket")
    if arn.service != "s3" and arn.resource.endswith(".fifo"):
        raise rule_error(f"a FIFO {'queue' if arn.service == 'sqs' else 'topic'} cannot be a destination")
    if len(str(arn)) > MAXIMUM_DESTINATION_ARN_CHARACTERS:
        raise rule_error(f"a destination's ARN has at most {MAXIMUM_DESTINATION_ARN_CHARACTERS} characters")
    shape, pattern = _DESTINATIONS[arn.service]
    if not re.fullmatch(pattern, arn.resource) or _has_place(arn) == (arn.service == "s3"):
        raise rule_error(f"a destination's ARN of {arn.service} ends in {shape}")
    return arn


def _role_arn(text: object) -> str:
    arn = _arn(text)
    if arn.service != "iam" or not arn.resource.startswith("role/"):
        raise rule_error("must be a role's ARN: arn:aws:iam::account:role/name")
    return str(arn)


_NAME = rf"[A-Za-z0-9_-]{{1,{MAXIMUM_NAME_CHARACTERS}}}"
_FUNCTION_RESOURCE = rf"function:{_NAME}(:(\$LATEST|[A-Za-z0-9_-]{{1,128}}))?"
_TEXT_SCHEMA = {"type": "string"}

SourceArn = Annotated[Arn, BeforeValidator(_source_arn), WithJsonSchema(_TEXT_SCHEMA)]
FunctionArn = Annotated[Arn, BeforeValidator(_function_arn), WithJsonSchema(_TEXT_SCHEMA)]
DestinationArn = Annotated[Arn, BeforeValidator(_destination_arn), WithJsonSchema(_TEXT_SCHEMA)]
RoleArn = Annotated[str, BeforeValidator(_role_arn), WithJsonSchema(_TEXT_SCHEMA)]
