"""Can new records come into this stream? If not, what should a person do?

    the service says so          a table's stream was switched off: DISABLING, then DISABLED. What it holds can be read
                                 for 24 hours. A stream that the table is given later has another ARN.
    all shards are drained       and no child of them is listed: nobody can write to the stream any more

Sources: Amazon DynamoDB Streams API Reference, "StreamDescription"; Amazon DynamoDB Developer Guide, "Change data
capture for DynamoDB Streams".
"""

from __future__ import annotations

from poller.model.arn import Arn

ENDED = ("DISABLING", "DISABLED")


def why_nothing_comes(arn: Arn, status: str | None, *, is_drained: bool) -> str | None:
    """The reason and what to do, in a sentence each; None while new records may come.

    `status` is the service's word, or None; `is_drained` says whether every shard is drained.
    """
    if status in ENDED:
        return f"the stream is {status}: it takes no new records, and what it holds is still read. {_what_to_do(arn)}"
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
