"""Has this stream ended, so that it gets no new records? If yes, what should a person do?

A stream has ended in two cases:

    its status is DISABLING or DISABLED    the stream of a DynamoDB table was switched off. Its records can be read
                                           for 24 hours. A new stream of the table has another ARN.
    all shards are drained                 and none has a child, so that nobody can write to the stream

Sources: Amazon DynamoDB Streams API Reference, "StreamDescription"; Amazon DynamoDB Developer Guide, "Change data
capture for DynamoDB Streams".
"""

from __future__ import annotations

from poller.model.arn import Arn

ENDED = ("DISABLING", "DISABLED")


def why_nothing_comes(arn: Arn, status: str | None, *, is_drained: bool) -> str | None:
    """Return why the stream gets no new records and what a person should do, or None if it may get new records.

    `status` is the stream's status in the service's spelling, or None. `is_drained` is true if every shard is drained.
    """
    if status in ENDED:
        return f"the stream is {status}: it takes no new records, and its old ones are still read. {_what_to_do(arn)}"
    if is_drained:
        return f"every shard of the stream is closed and done, and none has a child. {_what_to_do(arn)}"
    return None


def _what_to_do(arn: Arn) -> str:
    if arn.service == "kinesis":
        return "Is it being deleted? A new stream with its name needs new positions: `poller state set`"
    table = arn.resource.split("/")[1]
    return (
        f"If table {table} has another stream, set event_source_arn to the table's LatestStreamArn: "
        f"aws dynamodb describe-table --table-name {table} --query Table.LatestStreamArn"
    )
