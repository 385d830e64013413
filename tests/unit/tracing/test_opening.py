"""When does the daemon make spans?"""

from __future__ import annotations

import os
import subprocess
import sys
from uuid import UUID

import anyio
import pytest

from poller.core.document import Document
from poller.facts import Fact, SettingsWarning
from poller.model.ids import FunctionName, MappingName
from poller.tracing.opening import is_wanted, open_tracing
from poller.tracing.wrapping import Tracing
from tests.fakes.destinations import FakeDestination
from tests.fakes.http_server import Reply, Request, http_server
from tests.fakes.kinesis import FakeKinesis
from tests.fakes.sqs import FakeSqs
from tests.fakes.target import FakeTarget

DOCUMENT = Document(b'{"requestContext":{},"KinesisBatchInfo":{}}', None, "", 0.0, UUID(int=1))
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    "environ", [ENDPOINT, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}]
)
def test_an_endpoint_in_the_environment_asks_for_spans(environ: dict[str, str]) -> None:
    assert is_wanted(environ)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
        {"OTEL_SERVICE_NAME": "poller"},
        ENDPOINT | {"OTEL_SDK_DISABLED": "true"},
        ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_without_an_endpoint_or_if_they_are_disabled_there_are_no_spans(environ: dict[str, str]) -> None:
    assert not is_wanted(environ)


@pytest.mark.anyio
async def test_without_spans_the_wrapper_is_the_port_itself() -> None:
    facts: list[Fact] = []
    async with open_tracing({}, facts.append) as tracing:
        assert type(tracing) is Tracing
    sqs, kinesis, target, destination = FakeSqs(), FakeKinesis(), FakeTarget(), FakeDestination()
    queue, stream = sqs.source(sqs.create_queue("q")), kinesis.source(kinesis.create_stream("s"))
    assert tracing.queue(queue, MappingName("m")) is queue
    assert tracing.stream(stream, MappingName("m"), is_kinesis=True) is stream
    assert tracing.target(target, FunctionName("f")) is target
    assert tracing.destination(destination, "d") is destination
    assert facts == []


@pytest.mark.anyio
async def test_a_missing_extra_is_a_warning_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    facts: list[Fact] = []
    async with open_tracing(ENDPOINT, facts.append) as tracing:
        assert type(tracing) is Tracing
    [warning] = facts
    assert isinstance(warning, SettingsWarning)
    assert "poller[otel]" in str(warning)


@pytest.mark.anyio
@pytest.mark.slow
async def test_the_end_does_not_wait_for_a_collector_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra poller[otel] is not installed")
    asked = anyio.Event()

    async def say_nothing(_: Request) -> Reply:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr("poller.tracing.opening.LAST_SPANS_IN_SECONDS", 0.1)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
    async with http_server(say_nothing) as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        with anyio.fail_after(60):
            async with open_tracing(os.environ, list[Fact]().append) as tracing:
                await tracing.destination(FakeDestination(), "d").deliver(DOCUMENT)
            await asked.wait()


@pytest.mark.slow
def test_the_daemon_does_not_import_opentelemetry_before_it_makes_spans() -> None:
    program = "import sys, poller.app; sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
