"""How is the program put together? The composition root: the only place that knows the concrete classes.

    settings -> log, metrics -> AWS door -> one target and one gate for each function -> one runner for each mapping
             -> HTTP server -> the daemon, until a signal

Everything that must be closed is entered into one stack, so it closes in reverse order: first the mappings stop, then
the child processes end, then the connections close.
"""

from __future__ import annotations

import importlib.util
import random
import signal
import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import prometheus_client

from poller import __version__
from poller.admin.server import Address, serve
from poller.aws.door import Aws, AwsSettings
from poller.core.filtering import compile_filters
from poller.engine.daemon import Daemon, Runner
from poller.engine.permits import FunctionGate
from poller.engine.queue_mapping import QueueMappingRunner, QueueParts
from poller.engine.stop import Stop
from poller.errors import SettingsError
from poller.model.arn import queue_url
from poller.model.function import ChildProcess, Function, HttpService, LambdaApi
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.mapping import QueueMapping
from poller.model.status import MappingStatus
from poller.ports import QueueSource, Target
from poller.settings.values import Settings
from poller.sources.sqs import SqsSource
from poller.targets.http import HttpTarget
from poller.targets.lambda_api import LambdaApiTarget
from poller.targets.runtime import RuntimeTarget
from poller.telemetry import logs
from poller.telemetry.facts import DaemonStarted
from poller.telemetry.recorder import Recorder


class WallClock:
    """`ports.Clock` of the real world."""

    def now(self) -> float:
        return time.time()


def run(settings: Settings, *, settings_path: Path, verbose: bool = False) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit code. Raises SettingsError for what it cannot run."""
    _refuse_streams(settings)
    prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # a series a counter that nobody asks for
    logs.configure(settings.daemon.log_format, verbose)
    with_uvloop = importlib.util.find_spec("uvloop") is not None
    return anyio.run(_run, settings, settings_path, backend_options={"use_uvloop": with_uvloop})


def _refuse_streams(settings: Settings) -> None:
    """Said before anything starts, rather than leaving a mapping idle."""
    faults = [
        f"mappings.{mapping.name}.event_source_arn: {mapping.event_source_arn}: this version reads SQS queues only"
        for mapping in settings.stream_mappings
        if mapping.is_enabled
    ]
    if faults:
        raise SettingsError(faults)


async def _run(settings: Settings, settings_path: Path) -> int:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        return await _run_until(signals, settings, settings_path)


async def _run_until(signals: AsyncIterator[signal.Signals], settings: Settings, settings_path: Path) -> int:
    stop = Stop()
    recorder = Recorder(
        mappings={mapping.name: mapping.function_name for mapping in settings.queue_mappings},
        functions=list(settings.functions),
    )
    async with AsyncExitStack() as stack:
        parts = Parts(settings, stop=stop, recorder=recorder, stack=stack)
        await parts.open()
        daemon = Daemon(
            await parts.runners(),
            stop=stop,
            grace_in_seconds=settings.daemon.shutdown_grace_in_seconds,
            record=recorder.record,
            luck=parts.luck,
        )
        disabled = [_disabled(mapping) for mapping in settings.queue_mappings if not mapping.is_enabled]

        def statuses() -> Sequence[MappingStatus]:
            return [*daemon.statuses(), *disabled]

        recorder.watch(statuses)
        http = None
        if settings.daemon.http_listen is not None:
            http = await stack.enter_async_context(
                serve(settings.daemon.http_listen, registry=recorder.registry, statuses=statuses)
            )
        async with anyio.create_task_group() as services:
            services.start_soon(_obey, signals, stop)
            recorder.record(
                DaemonStarted(
                    version=__version__,
                    settings=str(settings_path),
                    mappings=len(daemon.statuses()),
                    http=_written(http) if http else None,
                )
            )
            await daemon.run()
            services.cancel_scope.cancel()
    return 0


def _written(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _obey(signals: AsyncIterator[signal.Signals], stop: Stop) -> None:
    """The first signal begins the stop, any further one hurries it."""
    async for _ in signals:
        if stop.has_begun:
            stop.hurry()
        else:
            stop.begin()


class Parts:
    """Makes the parts of a daemon from its settings; whatever must be closed goes into the stack."""

    def __init__(self, settings: Settings, *, stop: Stop, recorder: Recorder, stack: AsyncExitStack) -> None:
        daemon = settings.daemon
        self.luck = random.Random()
        self._settings = settings
        self._stop = stop
        self._record = recorder.record
        self._stack = stack
        self._aws = Aws(AwsSettings(region=daemon.region, endpoint_url=daemon.endpoint_url, endpoints=daemon.endpoints))
        self._gates: dict[FunctionName, FunctionGate] = {}
        self._targets: dict[FunctionName, Target] = {}

    async def open(self) -> None:
        await self._stack.enter_async_context(self._aws)

    async def runners(self) -> dict[MappingName, Callable[[], Runner]]:
        """What makes a fresh runner, for each enabled mapping."""
        return {
            mapping.name: await self._maker(mapping) for mapping in self._settings.queue_mappings if mapping.is_enabled
        }

    async def _maker(self, mapping: QueueMapping) -> Callable[[], Runner]:
        function = self._settings.functions[mapping.function_name]
        if function.name not in self._targets:
            self._targets[function.name] = await self._target(function)
            self._gates[function.name] = FunctionGate(function.reserved_concurrency)
        parts = QueueParts(
            mapping=mapping,
            function=function,
            source=await self._queue(mapping),
            target=self._targets[function.name],
            gate=self._gates[function.name],
            filters=compile_filters(mapping.filters, data_key="body") if mapping.filters else None,
            clock=WallClock(),
            luck=self.luck,
            new_request_id=lambda: RequestId(str(uuid.uuid4())),
            record=self._record,
            stop=self._stop,
        )
        return lambda: QueueMappingRunner(parts)

    async def _queue(self, mapping: QueueMapping) -> QueueSource:
        caller = await self._aws.caller("sqs", region=mapping.region, role_arn=mapping.role_arn)
        return SqsSource(
            caller,
            arn=mapping.event_source_arn,
            queue_url=queue_url(caller.endpoint_url, mapping.event_source_arn),
            has_batching_window=mapping.maximum_batching_window_in_seconds > 0,
        )

    async def _target(self, function: Function) -> Target:
        match function.kind:
            case LambdaApi() as kind:
                return await LambdaApiTarget.of(function, kind, self._aws)
            case HttpService():
                return await self._stack.enter_async_context(HttpTarget(function, record=self._record))
            case ChildProcess():
                return await self._stack.enter_async_context(
                    RuntimeTarget(
                        function,
                        record=self._record,
                        region=function.arn.region,
                        endpoint_url=self._settings.daemon.endpoint_url,
                    )
                )


def _disabled(mapping: QueueMapping) -> MappingStatus:
    return MappingStatus(
        mapping=mapping.name,
        function=mapping.function_name,
        source=str(mapping.event_source_arn),
        state="disabled",
        reason=None,
        polls_in_flight=0,
        batches_in_flight=0,
        messages_held=0,
        concurrency_limit=0,
    )
