"""Which parts does an ARN have? `arn:partition:service:region:account:resource`."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Arn:
    """An Amazon resource name. `region` and `account` may be empty: the ARN of an S3 bucket has neither."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: str) -> Arn:
        """Return the ARN that the text contains. Raises ValueError if the text is not an ARN."""
        parts = text.split(":", 5)
        if len(parts) != 6 or parts[0] != "arn" or not parts[1] or not parts[2] or not parts[5]:
            raise ValueError(f"{text!r} is not an ARN (arn:partition:service:region:account:resource)")
        return cls(partition=parts[1], service=parts[2], region=parts[3], account=parts[4], resource=parts[5])

    def __str__(self) -> str:
        return f"arn:{self.partition}:{self.service}:{self.region}:{self.account}:{self.resource}"


def stream_arn(event_source: Arn) -> str:
    """Return the ARN of the event source's stream. For a Kinesis consumer it is the stream that the consumer reads."""
    text = str(event_source)
    return text.partition("/consumer/")[0] if event_source.service == "kinesis" else text


def queue_url(endpoint_url: str, arn: Arn) -> str:
    """Return the queue's url at this SQS endpoint."""
    return f"{endpoint_url.rstrip('/')}/{arn.account}/{arn.resource}"


def unqualified(function: Arn) -> Arn:
    """Return the ARN of a Lambda function without its version or alias."""
    return replace(function, resource=":".join(function.resource.split(":")[:2]))


def qualified(function: Arn) -> Arn:
    """Return the ARN of a Lambda function with its version or alias, which is `$LATEST` if it has none."""
    return function if function.resource.count(":") > 1 else replace(function, resource=f"{function.resource}:$LATEST")
