"""Are the destinations of invocation records and of events there?

Only Lambda has a dry run. For all other services, only a delivery shows whether a destination accepts a record. So
these checks ask for the description of the destination, and say that no more was asked. The daemon itself does not need
the permission for this.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from poller.aws.clients import Aws
from poller.aws.kept_client import KeptClient
from poller.core.finding import Finding
from poller.errors import PollerError
from poller.live_checks.functions import dry_run
from poller.live_checks.rows import ANSWER_TIMEOUT_IN_SECONDS, Row, attributes_of, unless_denied
from poller.model.arn import Arn, queue_url, unqualified
from poller.settings.arns import RECEIVERS

EXISTS = Finding("exists; the permission to write to it is not checked, because AWS has no call for this")
NOT_CHECKED = Finding("this command cannot check such a resource", is_advice=True)


async def destination(option: str, arn: Arn, region: str, role_arn: str | None, aws: Aws) -> list[Row]:
    """Check one destination. `region` is used if the ARN has no region."""
    region = arn.region or region
    row = partial(Row, option, str(arn))
    if arn.service == "lambda":
        _, _, qualifier = arn.resource.removeprefix("function:").partition(":")
        async with KeptClient(lambda: aws.client("lambda", region=region, role_arn=role_arn)) as client:
            return [row("Invoke (DryRun)", await dry_run(client, str(unqualified(arn)), qualifier or None))]
    description = _description(arn)
    if description is None:
        return [row("exists", NOT_CHECKED)]
    operation, parameters = description
    try:
        if arn.service == "sqs":
            sqs = await aws.json_client("sqs", region=region, role_arn=role_arn)
            await attributes_of(sqs, queue_url(sqs.endpoint_url, arn))
        else:
            async with KeptClient(lambda: aws.client(arn.service, region=region, role_arn=role_arn)) as client:
                await client.call(operation, timeout_in_seconds=ANSWER_TIMEOUT_IN_SECONDS, **parameters)
    except PollerError as error:
        return [row("exists", unless_denied(error, RECEIVERS[arn.service].action))]
    return [row("exists", EXISTS)]


def _description(arn: Arn) -> tuple[str, dict[str, Any]] | None:
    """Return the operation of the service's client that describes the resource, and its parameters, or None."""
    match arn.service:
        case "sqs":
            return "get_queue_attributes", {}
        case "sns":
            return "get_topic_attributes", {"TopicArn": str(arn)}
        case "s3":
            return "head_bucket", {"Bucket": arn.resource}
        case "events":
            return "describe_event_bus", {"Name": arn.resource.removeprefix("event-bus/")}
    return None
