"""Which object reads the source of a mapping? This module makes it for mappings.py and tailing.py.

    a queue     SqsSource; all of them share the receives whose answers were lost
    a stream    KinesisSource or DynamoDbStreamsSource; all streams of an account and a region share one pace of listing

A client has the region and the role of its mapping.
"""

from __future__ import annotations

import random
from functools import partial
from weakref import WeakValueDictionary

from poller.aws.clients import Aws
from poller.aws.json_client import JsonClient
from poller.core.filtering import RecordFilter, compile_filters, data_key_of
from poller.model.arn import Arn, queue_url
from poller.model.function import FunctionKind
from poller.model.mapping import QueueMapping, StreamMapping
from poller.ports import StreamSource
from poller.sources.dynamodb_streams import DynamoDbStreamsSource
from poller.sources.kinesis import KinesisSource
from poller.sources.pacing import Pace, PacedClient
from poller.sources.reader_identity import AskedOnce, reader_arn
from poller.sources.receive_attempts import ReceiveAttempts
from poller.sources.sqs import SqsSource


class SourceComposition:
    """Makes the sources. A pace lives as long as one of the sources that share it."""

    def __init__(self, randomness: random.Random) -> None:
        self._randomness = randomness
        self._paces: WeakValueDictionary[tuple[str, str, str, str], Pace] = WeakValueDictionary()
        self._attempts = ReceiveAttempts()

    async def queue(self, mapping: QueueMapping, aws: Aws) -> SqsSource:
        client = await aws.json_client("sqs", region=mapping.region, role_arn=mapping.role_arn)
        return SqsSource(
            client,
            arn=mapping.event_source_arn,
            queue_url=queue_url(client.endpoint_url, mapping.event_source_arn),
            has_batching_window=mapping.maximum_batching_window_in_seconds > 0,
            attempts=self._attempts,
        )

    async def stream(
        self,
        mapping: StreamMapping,
        kind: FunctionKind,
        aws: Aws,
        *,
        role_of_function: AskedOnce,
        own_identity: AskedOnce,
    ) -> StreamSource:
        """Return the source of a mapping whose function is of this kind. The identities are those of `reader_arn`."""
        arn, region, role_arn = mapping.event_source_arn, mapping.region, mapping.role_arn
        if not mapping.is_kinesis:
            client = await aws.json_client("dynamodbstreams", region=region, role_arn=role_arn)
            return DynamoDbStreamsSource(self._paced(client, "DescribeStream", arn), arn=arn)
        client = await aws.json_client("kinesis", region=region, role_arn=role_arn)
        reader = partial(reader_arn, mapping, kind, aws, role_of_function=role_of_function, own_identity=own_identity)
        return KinesisSource(self._paced(client, "ListShards", arn), arn=arn, reader=reader)

    def _paced(self, client: JsonClient, operation: str, arn: Arn) -> PacedClient:
        """Return a client whose listing calls share one rate with all mappings of the same account and region."""
        key = (operation, client.endpoint_url, arn.region, arn.account)
        return PacedClient(client, self._paces.setdefault(key, Pace(operation, self._randomness)))


def filter_of(mapping: QueueMapping | StreamMapping) -> RecordFilter | None:
    """Return the filter of the mapping, or None if every record matches."""
    if not mapping.filters:
        return None
    return compile_filters(mapping.filters, data_key=data_key_of(mapping.event_source_arn))
