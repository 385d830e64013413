"""What is a daemon made of? Its parts, made from the settings: the only place that knows the concrete classes.

    a mapping of a queue     SqsSource ─┐
    a mapping of a stream    KinesisSource or DynamoDbStreamsSource, the state, a destination ─┴─ a function

Mappings share the AWS clients, the state, the functions, and the budget of bytes for all streams.
Parts that must be closed are entered into the given stack.
"""

from __future__ import annotations

import os
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import anyio

from poller.aws.clients import Aws, AwsSettings
from poller.aws.json_client import JsonClient
from poller.aws.kept_client import KeptClient
from poller.core.filtering import DataKey, RecordFilter, compile_filters
from poller.destinations.s3 import S3Destination
from poller.destinations.sns import SnsDestination
from poller.destinations.sqs import SqsDestination
from poller.engine.daemon import Runner
from poller.engine.queues.mapping import QueueContext, QueueMappingRunner
from poller.engine.stop import Stop
from poller.engine.streams.budget import BYTES_OF_THE_PROCESS, Budget
from poller.engine.streams.lane import LaneContext
from poller.engine.streams.mapping import StreamContext, StreamMappingRunner
from poller.facts import Emit, StateOpened
from poller.functions.opened import OpenFunction
from poller.functions.telling import Invocations
from poller.model.arn import Arn, queue_url
from poller.model.function import ChildProcess, Function, HttpService, LambdaApi
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.mapping import QueueMapping, StreamMapping
from poller.ports import CheckpointStore, Destination, QueueSource, StreamSource, Target
from poller.settings.values import Settings
from poller.sources.dynamodb_streams import DynamoDbStreamsSource
from poller.sources.kinesis import KinesisSource, known
from poller.sources.pacing import Pace, PacedClient
from poller.sources.sqs import SqsSource
from poller.stores.memory import MemoryStore
from poller.stores.sqlite import SqliteStore
from poller.targets.http import HttpTarget
from poller.targets.lambda_api import LambdaApiTarget
from poller.targets.runtime import RuntimeTarget


class WallClock:
    """`ports.Clock` of the real world."""

    def now(self) -> float:
        return time.time()


class Parts:
    """The parts of one daemon."""

    def __init__(
        self, settings: Settings, *, stop: Stop, emit: Emit, stack: AsyncExitStack, descriptor_limit: int
    ) -> None:
        """`descriptor_limit` is the soft limit of open files that child processes get."""
        daemon = settings.daemon
        self.randomness = random.Random()
        self._settings = settings
        self._stop = stop
        self._emit = emit
        self._stack = stack
        self._descriptor_limit = descriptor_limit
        self._clock = WallClock()
        self._aws = Aws(AwsSettings(region=daemon.region, endpoint_url=daemon.endpoint_url, endpoints=daemon.endpoints))
        self._budget = Budget(BYTES_OF_THE_PROCESS)
        self._functions: dict[FunctionName, OpenFunction] = {}
        self._paces: dict[tuple[str, str, str, str], Pace] = {}
        self._known_identity_arn: str | None = None
        self._asking_for_identity = anyio.Lock()
        self._execution_roles: dict[FunctionName, str] = {}
        self._asking_for_role: defaultdict[FunctionName, anyio.Lock] = defaultdict(anyio.Lock)

    async def runners(self) -> dict[MappingName, Callable[[], Runner]]:
        """What makes a fresh runner, for each enabled mapping. Raises SettingsError for what cannot be opened."""
        await self._stack.enter_async_context(self._aws)
        makers: dict[MappingName, Callable[[], Runner]] = {}
        for queue_mapping in self._settings.queue_mappings:
            if queue_mapping.is_enabled:
                makers[queue_mapping.name] = await self._queue_runner(queue_mapping)
        stream_mappings = [mapping for mapping in self._settings.stream_mappings if mapping.is_enabled]
        if stream_mappings:
            store = await self._store()
            for stream_mapping in stream_mappings:
                makers[stream_mapping.name] = await self._stream_runner(stream_mapping, store)
        return makers

    async def _queue_runner(self, mapping: QueueMapping) -> Callable[[], Runner]:
        parts = QueueContext(
            mapping=mapping,
            function=await self._function(mapping.function_name),
            source=await self._queue(mapping),
            filters=_filters(mapping.filters, data_key="body"),
            clock=self._clock,
            randomness=self.randomness,
            new_request_id=new_request_id,
            emit=self._emit,
            stop=self._stop,
        )
        return lambda: QueueMappingRunner(parts)

    async def _stream_runner(self, mapping: StreamMapping, store: CheckpointStore) -> Callable[[], Runner]:
        source = await self._stream(mapping)
        lane = LaneContext(
            mapping=mapping,
            function=await self._function(mapping.function_name),
            invocations=Invocations(
                mapping=mapping.name, function=mapping.function_name, clock=self._clock, emit=self._emit
            ),
            destination=await self._destination(mapping),
            clock=self._clock,
            source_clock=source.clock,
            randomness=self.randomness,
            new_request_id=new_request_id,
            emit=self._emit,
            stop=self._stop,
        )
        parts = StreamContext(
            lane=lane,
            source=source,
            store=store,
            filters=_filters(mapping.filters, data_key="data" if mapping.is_kinesis else "dynamodb"),
            budget=self._budget,
        )
        return lambda: StreamMappingRunner(parts)

    async def _store(self) -> CheckpointStore:
        state = self._settings.daemon.state
        if state == "memory:":
            return MemoryStore()
        path = Path(state.removeprefix("sqlite://"))
        store = await self._stack.enter_async_context(SqliteStore(path))
        self._emit(StateOpened(file=str(path), positions=store.positions))
        return store

    async def _queue(self, mapping: QueueMapping) -> QueueSource:
        client = await self._aws.json_client("sqs", region=mapping.region, role_arn=mapping.role_arn)
        return SqsSource(
            client,
            arn=mapping.event_source_arn,
            queue_url=queue_url(client.endpoint_url, mapping.event_source_arn),
            has_batching_window=mapping.maximum_batching_window_in_seconds > 0,
        )

    async def _stream(self, mapping: StreamMapping) -> StreamSource:
        arn, region, role_arn = mapping.event_source_arn, mapping.region, mapping.role_arn
        if not mapping.is_kinesis:
            client = await self._aws.json_client("dynamodbstreams", region=region, role_arn=role_arn)
            return DynamoDbStreamsSource(self._paced(client, "DescribeStream", arn), arn=arn)
        client = await self._aws.json_client("kinesis", region=region, role_arn=role_arn)
        return KinesisSource(
            self._paced(client, "ListShards", arn),
            arn=arn,
            reader=known(role_arn) if role_arn else partial(self._reader_arn, mapping),
        )

    def _paced(self, client: JsonClient, operation: str, arn: Arn) -> PacedClient:
        """The source's client, whose listings share one rate with all mappings of the account and region."""
        whose = (operation, client.endpoint_url, arn.region, arn.account)
        return PacedClient(client, self._paces.setdefault(whose, Pace(operation, self.randomness)))

    async def _reader_arn(self, mapping: StreamMapping) -> str:
        """The invokeIdentityArn if the mapping has no `role_arn`: the function's role on Lambda, else our identity.

        It is asked for once for each function, however many shards begin together.
        """
        function = self._settings.functions[mapping.function_name]
        if not isinstance(function.kind, LambdaApi):
            return await self._identity_arn(mapping)
        async with self._asking_for_role[function.name]:
            if function.name not in self._execution_roles:
                kind = function.kind
                role = await self._aws.execution_role(
                    kind.name, qualifier=kind.qualifier, region=kind.region, role_arn=kind.role_arn
                )
                self._execution_roles[function.name] = role or await self._identity_arn(mapping)
            return self._execution_roles[function.name]

    async def _identity_arn(self, mapping: StreamMapping) -> str:
        """Where STS does not say who we are (an emulator without it), the account itself stands in events.

        Whoever needs it waits for it, and nobody else; it is asked for once, however many shards begin together.
        """
        async with self._asking_for_identity:
            if self._known_identity_arn is None:
                arn = mapping.event_source_arn
                account = Arn(partition=arn.partition, service="iam", region="", account=arn.account, resource="root")
                self._known_identity_arn = await self._aws.identity_arn(mapping.region) or str(account)
            return self._known_identity_arn

    async def _destination(self, mapping: StreamMapping) -> Destination | None:
        if mapping.on_failure is None:
            return None
        arn = mapping.on_failure.destination_arn
        region, role_arn = arn.region or mapping.region, mapping.role_arn
        client = await self._stack.enter_async_context(
            KeptClient(lambda: self._aws.client(arn.service, region=region, role_arn=role_arn))
        )
        match arn.service:
            case "sqs":
                endpoint_url = (await self._aws.json_client("sqs", region=region, role_arn=role_arn)).endpoint_url
                return SqsDestination(client, queue_url=queue_url(endpoint_url, arn))
            case "sns":
                return SnsDestination(client, arn=arn)
            case "s3":
                return S3Destination(client, arn=arn)
            case service:
                raise AssertionError(f"settings refuse a destination of {service}")

    async def _function(self, name: FunctionName) -> OpenFunction:
        if name not in self._functions:
            definition = self._settings.functions[name]
            self._functions[name] = OpenFunction(definition, await self._target(definition))
        return self._functions[name]

    async def _target(self, function: Function) -> Target:
        match function.kind:
            case LambdaApi() as kind:
                return await LambdaApiTarget.of(function, kind, self._aws)
            case HttpService():
                return await self._stack.enter_async_context(HttpTarget(function, emit=self._emit))
            case ChildProcess():
                return await self._stack.enter_async_context(
                    RuntimeTarget(
                        function,
                        emit=self._emit,
                        region=function.arn.region,
                        endpoint_url=self._settings.daemon.endpoint_url,
                        descriptor_limit=self._descriptor_limit,
                        inherited=_without(self._settings.withheld_variables, os.environ),
                    )
                )


def _without(withheld: Collection[str], environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in withheld}


def new_request_id() -> RequestId:
    return RequestId(str(uuid.uuid4()))


def _filters(patterns: tuple[str, ...], *, data_key: DataKey) -> RecordFilter | None:
    return compile_filters(patterns, data_key=data_key) if patterns else None
