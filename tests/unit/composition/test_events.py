"""Do events reach their functions with the real objects? The functions are HTTP services; a file holds the events."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import anyio
import orjson
import pytest

from poller.aws.signing import Credentials
from poller.composition.mappings import Composition, compose
from poller.composition.worker import Pauses
from poller.descriptors import Limits
from poller.engine.stop import Stop
from poller.engine.supervisor import Supervisor
from poller.errors import EventQueueRefused, Rejected, SettingsError
from poller.event_queues import by_hand
from poller.facts import EventFileMigrated, Fact
from poller.garbage import Garbage
from poller.model.ids import FunctionName, RequestId
from poller.model.mapping import EventMapping
from poller.model.status import EventsStatus, MappingStatus
from poller.running import Running
from poller.settings.changes import changes
from poller.settings.loading import load
from poller.settings.values import Settings
from poller.telemetry.telemetry import Telemetry
from tests.fakes.aws_over_http import AwsOverHttp, aws_over_http
from tests.fakes.clock import VirtualClock
from tests.fakes.http_server import Reply, Request, http_server
from tests.fakes.watch import Watch

pytestmark = pytest.mark.anyio

RESIZE, AUDIT = FunctionName("resize"), FunctionName("audit")
QUEUE = "arn:aws:sqs:eu-west-1:123456789012:"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Service:
    """A function behind HTTP. Its first `failures` answers have status 500. `requests` has all requests."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self.failures = 0
        self.was_asked = anyio.Event()

    async def answer(self, request: Request) -> Reply:
        self.requests.append(request)
        self.was_asked.set()
        self.was_asked = anyio.Event()
        if self.failures:
            self.failures -= 1
            return Reply(status=500)
        return Reply(body=b'{"done": true}')

    async def until_asked(self, times: int) -> None:
        with anyio.fail_after(30):
            while len(self.requests) < times:
                await self.was_asked.wait()


@pytest.fixture
async def services() -> AsyncIterator[dict[FunctionName, Service]]:
    resize, audit = Service(), Service()
    async with http_server(resize.answer) as one, http_server(audit.answer) as two:
        resize.url, audit.url = one.url, two.url
        yield {RESIZE: resize, AUDIT: audit}


def settings_of(folder: Path, services: dict[FunctionName, Service], config: str = "", *, state: str = "") -> Settings:
    """Return settings with the functions `resize` and `audit`. `config` is the event_invoke_config of `resize`."""
    text = f'[daemon]\nregion = "eu-west-1"\n{state}\n'
    for name, service in services.items():
        text += f'[functions.{name}]\nurl = "{service.url}"\n'
    file = folder / "poller.toml"
    file.write_text(f"{text}[functions.resize.event_invoke_config]\n{config}\n" if config else text)
    return load(file, {})


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


class Daemon:
    """A running daemon, with the calls that the tests make."""

    def __init__(self, composition: Composition, supervisor: Supervisor, running: Running, stop: Stop) -> None:
        self.composition = composition
        self.supervisor = supervisor
        self.running = running
        self.stop = stop

    async def accept(self, name: FunctionName, payload: bytes, request_id: str = "8f3") -> None:
        await self.composition.events.acceptor.accept(name, payload, request_id=RequestId(request_id))

    def status(self, function: FunctionName) -> MappingStatus:
        return self.supervisor.status(EventMapping.named(function))

    def events(self) -> dict[str, EventsStatus]:
        return {each.function: each.events for each in self.supervisor.statuses() if each.events is not None}


@asynccontextmanager
async def daemon_of(settings: Settings) -> AsyncIterator[Daemon]:
    stop, telemetry = Stop(), Telemetry()
    async with compose(settings, emit=telemetry.emit, descriptor_limit=1024) as composition:
        supervisor = Supervisor(
            composition.open,
            pauses=Pauses(composition.worker),
            series=telemetry,
            stop=stop,
            grace_in_seconds=5.0,
            clock=composition.clock,
            emit=telemetry.emit,
            randomness=random.Random(1),
        )
        limits = Limits(original=1024, own=65_536)
        running = Running(
            supervisor, composition, series=telemetry, garbage=Garbage(), limits=limits, emit=telemetry.emit
        )
        async with supervisor.running():
            await running.start(settings)
            supervisor.begin()
            yield Daemon(composition, supervisor, running, stop)
            stop.begin()


async def test_an_event_reaches_its_function_and_its_record_reaches_the_destination_function(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    settings = settings_of(tmp_path, services, 'destination_config.on_success.destination = "audit"')
    async with daemon_of(settings) as daemon:
        await daemon.accept(RESIZE, b'{"image": 1}')
        await services[AUDIT].until_asked(1)
    (call,), (record,) = services[RESIZE].requests, services[AUDIT].requests
    assert call.body == b'{"image": 1}'
    record = orjson.loads(record.body)
    assert (record["requestContext"]["requestId"], record["requestContext"]["condition"]) == ("8f3", "Success")
    assert (record["requestPayload"], record["responsePayload"]) == ({"image": 1}, {"done": True})


async def test_a_daemon_without_events_creates_no_file_for_them(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    settings = settings_of(tmp_path, services)
    async with daemon_of(settings) as daemon:
        await anyio.wait_all_tasks_blocked()
        assert daemon.events().keys() == {RESIZE, AUDIT}
        assert not any(events.is_in_use for events in daemon.events().values())
        assert names_in(tmp_path) == ["poller.toml"]
        await daemon.accept(RESIZE, b"{}")
        await services[RESIZE].until_asked(1)
        assert daemon.events()[RESIZE].is_in_use
        assert not daemon.events()[AUDIT].is_in_use


@pytest.mark.slow
async def test_a_waiting_event_survives_a_restart_of_the_daemon(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    services[RESIZE].failures = 1
    settings = settings_of(tmp_path, services, "retry_waits_in_seconds = [0.5, 0]")
    async with daemon_of(settings) as daemon:
        await daemon.accept(RESIZE, b"{}")
        await services[RESIZE].until_asked(1)
    async with daemon_of(settings):
        await services[RESIZE].until_asked(2)
    assert len(services[RESIZE].requests) == 2


async def test_the_copy_of_a_migrated_file_of_events_is_reported(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    settings = settings_of(tmp_path, services)
    path = Path(str(settings.daemon.event_queue).removeprefix("sqlite://"))
    with closing(sqlite3.connect(path)) as file:
        file.executescript((Path(__file__).parents[1] / "event_queues" / "format_1.sql").read_text())
    facts: list[Fact] = []
    async with compose(settings, emit=facts.append, descriptor_limit=1024) as composition:
        await composition.events.acceptor.accept(AUDIT, b"{}", request_id=RequestId("8f3"))
    migrated = EventFileMigrated(event_queue=f"sqlite://{path}", kept_copy=f"{path}.format-1")
    assert [fact for fact in facts if isinstance(fact, EventFileMigrated)] == [migrated]


async def test_a_daemon_without_an_event_queue_accepts_no_event(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    settings = settings_of(tmp_path, services, state='state = "memory:"')
    async with daemon_of(settings) as daemon:
        assert daemon.events() == {}
        with pytest.raises(Rejected, match="there are no asynchronous events") as error:
            await daemon.accept(RESIZE, b"{}")
    assert error.value.code == "NoEventQueue"


async def test_an_event_for_an_unknown_function_is_not_accepted(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    async with daemon_of(settings_of(tmp_path, services)) as daemon:
        with pytest.raises(Rejected, match="there is no function other"):
            await daemon.accept(FunctionName("other"), b"{}")


async def test_a_reload_restarts_only_the_events_of_the_changed_function(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    before = settings_of(tmp_path, services)
    after = settings_of(tmp_path, services, 'destination_config.on_success.destination = "audit"')
    async with daemon_of(before) as daemon:
        runs = {supervised.mapping.name: supervised.run for supervised in daemon.supervisor._mappings.values()}
        assert await daemon.running.apply(changes(before, after)) == {}
        changed = {
            supervised.mapping.name
            for supervised in daemon.supervisor._mappings.values()
            if supervised.run is not runs[supervised.mapping.name]
        }
        assert changed == {"resize:events"}
        await daemon.accept(RESIZE, b"{}")
        await services[AUDIT].until_asked(1)


async def test_the_events_of_a_removed_function_stay_in_the_queue(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    before = settings_of(tmp_path, services)
    after = settings_of(tmp_path, {AUDIT: services[AUDIT]})
    services[RESIZE].failures = 1
    async with daemon_of(before) as daemon:
        await daemon.accept(RESIZE, b"{}")
        await services[RESIZE].until_asked(1)
        assert await daemon.running.apply(changes(before, after)) == {}
        assert daemon.events().keys() == {AUDIT}
        assert await daemon.running.apply(changes(after, before)) == {}
        assert daemon.events().keys() == {AUDIT, RESIZE}
        async with daemon.composition.events.queue_of(RESIZE) as queue:
            assert (await queue.depth(RESIZE)).waiting == 1


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def aws(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AwsOverHttp]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDFIRST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(
        "poller.composition.mappings.WallClock", VirtualClock
    )  # the queues in memory have this clock, too
    async with aws_over_http(watch, Credentials("AKIDFIRST", "secret", None)) as service:
        yield service


def remembered(folder: Path) -> list[str]:
    return [str(queue.arn) for queue in by_hand.remembered(folder / "poller-events.db")]


def with_an_sqs_queue(folder: Path, services: dict[FunctionName, Service], aws: AwsOverHttp) -> Settings:
    """Return settings in which the events of `resize` wait in the SQS queue `events`, and successes go to `done`."""
    config = f"""
        event_queue_arn = "{QUEUE}events"
        destination_config.on_success.destination = "{QUEUE}done"
        """
    return settings_of(folder, services, config, state=f'endpoint_url = "{aws.url}"')


async def test_the_events_of_a_function_may_wait_in_sqs(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch
) -> None:
    events, done = aws.create_queue("events"), aws.create_queue("done")
    async with daemon_of(with_an_sqs_queue(tmp_path, services, aws)) as daemon:
        await daemon.accept(RESIZE, b'{"image": 1}')
        await services[RESIZE].until_asked(1)
        await watch.until(lambda: done.message_ids and not events.message_ids)
        assert await daemon.composition.events.queues.former() == []
    assert services[RESIZE].requests[0].body == b'{"image": 1}'
    assert [entry.kind for entry in events.history if entry.kind in ("sent", "deleted")] == ["sent", "deleted"]


async def test_the_message_of_a_sender_invokes_the_function(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch
) -> None:
    events = aws.create_queue("events")
    aws.create_queue("done")
    events.send('{"Service": "Amazon S3", "Event": "s3:TestEvent"}', now=anyio.current_time())
    events.send('{"Records": [{"eventSource": "aws:s3"}]}', now=anyio.current_time())
    async with daemon_of(with_an_sqs_queue(tmp_path, services, aws)):
        await services[RESIZE].until_asked(1)
        await watch.until(lambda: not events.message_ids)
    assert [request.body for request in services[RESIZE].requests] == [b'{"Records": [{"eventSource": "aws:s3"}]}']


async def test_the_events_of_a_former_sqs_queue_reach_the_function_after_a_restart_with_other_settings(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch
) -> None:
    events = aws.create_queue("events")
    async with daemon_of(with_an_sqs_queue(tmp_path, services, aws)):
        await watch.until(lambda: aws.polls_waiting)  # the file remembers a queue that is read
    events.send('{"Records": []}', now=anyio.current_time())
    async with daemon_of(settings_of(tmp_path, services, state=f'endpoint_url = "{aws.url}"')) as daemon:
        await services[RESIZE].until_asked(1)
        await watch.until(lambda: not events.message_ids)
        assert [name for name, status in daemon.events().items() if status.is_in_use] == [RESIZE]
    assert services[RESIZE].requests[0].body == b'{"Records": []}'


async def test_the_events_of_a_former_sqs_queue_reach_the_function_after_a_reload(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch
) -> None:
    events = aws.create_queue("events")
    before = with_an_sqs_queue(tmp_path, services, aws)
    after = settings_of(tmp_path, services, state=f'endpoint_url = "{aws.url}"')
    async with daemon_of(before) as daemon:
        await watch.until(lambda: aws.polls_waiting)  # the file remembers a queue that is read
        assert await daemon.running.apply(changes(before, after)) == {}
        events.send('{"Records": []}', now=anyio.current_time())
        await services[RESIZE].until_asked(1)
        await watch.until(lambda: not events.message_ids)


async def test_events_in_the_sqs_queue_of_a_removed_function_are_shown_as_stuck(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch
) -> None:
    events = aws.create_queue("events")
    async with daemon_of(with_an_sqs_queue(tmp_path, services, aws)):
        await watch.until(lambda: aws.polls_waiting)  # the file remembers a queue that is read
    events.send('{"Records": []}', now=anyio.current_time())
    without_resize = settings_of(tmp_path, {AUDIT: services[AUDIT]}, state=f'endpoint_url = "{aws.url}"')
    async with daemon_of(without_resize) as daemon:
        orphans = daemon.composition.events.orphans
        await orphans.run_once()
        (status,) = orphans.statuses()
        assert (status.function, status.events is not None and status.events.stuck) == (RESIZE, 1)
        (queue,) = await daemon.composition.events.queues.former()
        await daemon.composition.events.queues.forget(queue)
        await daemon.composition.events.queues.depth(queue)
        assert remembered(tmp_path) == [], "a queue that is only looked at is not remembered again"


async def test_a_former_sqs_queue_that_the_settings_use_otherwise_is_forgotten_and_not_read(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch
) -> None:
    events = aws.create_queue("events")
    async with daemon_of(with_an_sqs_queue(tmp_path, services, aws)):
        await watch.until(lambda: aws.polls_waiting)  # the file remembers a queue that is read
    events.send('{"a": "record"}', now=anyio.current_time())
    config = f'destination_config.on_failure.destination = "{QUEUE}events"'
    async with daemon_of(settings_of(tmp_path, services, config, state=f'endpoint_url = "{aws.url}"')) as daemon:
        await daemon.composition.events.orphans.run_once()
        assert remembered(tmp_path) == []
    assert len(events.message_ids) == 1
    assert services[RESIZE].requests == []


@pytest.mark.parametrize(
    "use",
    [
        f'[mappings.m]\nfunction_name = "audit"\nevent_source_arn = "{QUEUE}events"',
        '[mappings.m]\nfunction_name = "audit"\nstarting_position = "LATEST"\n'
        'event_source_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"\n'
        f'destination_config.on_failure.destination_arn = "{QUEUE}events"',
        f'[functions.audit.event_invoke_config]\ndestination_config.on_success.destination = "{QUEUE}events"',
        f'[functions.audit.dead_letter_config]\ntarget_arn = "{QUEUE}events"',
    ],
)
async def test_any_other_use_of_a_former_sqs_queue_ends_the_reading_of_its_events(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch, use: str
) -> None:
    aws.create_queue("events")
    async with daemon_of(with_an_sqs_queue(tmp_path, services, aws)):
        await watch.until(lambda: aws.polls_waiting)  # the file remembers a queue that is read
    settings = settings_of(tmp_path, services, f"\n{use}", state=f'endpoint_url = "{aws.url}"')
    async with compose(settings, emit=Telemetry().emit, descriptor_limit=1024) as composition:
        assert await composition.events.queues.former() == []
    assert remembered(tmp_path) == []


async def test_a_former_sqs_queue_that_has_the_events_of_another_function_now_is_not_read_for_the_earlier_one(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch
) -> None:
    events = aws.create_queue("events")
    async with daemon_of(with_an_sqs_queue(tmp_path, services, aws)):
        await watch.until(lambda: aws.polls_waiting)  # the file remembers a queue that is read
    events.send('{"for": "audit"}', now=anyio.current_time())
    config = f'\n[functions.audit.event_invoke_config]\nevent_queue_arn = "{QUEUE}events"'
    settings = settings_of(tmp_path, services, config, state=f'endpoint_url = "{aws.url}"')
    async with compose(settings, emit=Telemetry().emit, descriptor_limit=1024) as composition:
        assert await composition.events.queues.former() == []
    async with daemon_of(settings):
        await services[AUDIT].until_asked(1)
        await watch.until(lambda: not events.message_ids)
    assert services[RESIZE].requests == []


async def test_a_queue_that_the_settings_name_again_is_not_forgotten(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch
) -> None:
    aws.create_queue("events")
    before = with_an_sqs_queue(tmp_path, services, aws)
    after = settings_of(tmp_path, services, state=f'endpoint_url = "{aws.url}"')
    async with daemon_of(before) as daemon:
        await watch.until(lambda: aws.polls_waiting)  # the file remembers a queue that is read
        assert await daemon.running.apply(changes(before, after)) == {}
        (queue,) = await daemon.composition.events.queues.former()
        assert await daemon.running.apply(changes(after, before)) == {}
        assert not await daemon.composition.events.queues.forget(queue)
    assert remembered(tmp_path) == [f"{QUEUE}events"]


async def test_events_of_an_earlier_run_whose_function_was_removed_are_shown_at_the_start(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    services[RESIZE].failures = 1
    async with daemon_of(settings_of(tmp_path, services)) as daemon:
        await daemon.accept(RESIZE, b"{}")
        await services[RESIZE].until_asked(1)
    async with daemon_of(settings_of(tmp_path, {AUDIT: services[AUDIT]})) as daemon:
        await daemon.composition.events.orphans.run_once()
        assert [status.function for status in daemon.composition.events.orphans.statuses()] == [RESIZE]


async def test_a_file_of_events_whose_path_cannot_be_examined_does_not_stop_the_daemon(
    tmp_path: Path, services: dict[FunctionName, Service]
) -> None:
    """For example, the daemon's user may not enter the folder."""
    state = f'state = "memory:"\nevent_queue = "sqlite://{"x" * 300}"'
    async with daemon_of(settings_of(tmp_path, services, state=state)) as daemon:
        await daemon.composition.events.orphans.run_once()
        with pytest.raises(Rejected, match="cannot be read: File name too long"):
            await daemon.accept(RESIZE, b"{}")


@pytest.mark.parametrize(
    ("queue", "rule"),
    [
        ("a good one", None),
        ("none", None),
        ("one with a redrive policy", "has a redrive policy"),
        ("one with a short retention", "MessageRetentionPeriod must be at least"),
    ],
)
async def test_an_sqs_queue_in_which_events_could_be_lost_is_a_fault_of_the_settings(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, queue: str, rule: str | None
) -> None:
    if queue == "one with a redrive policy":
        aws.create_queue("events", dead_letter_queue=aws.create_queue("dead"), maximum_receive_count=3)
    elif queue == "one with a short retention":
        aws.create_queue("events", retention_in_seconds=3600)
    elif queue == "a good one":
        aws.create_queue("events")
    settings = with_an_sqs_queue(tmp_path, services, aws)
    async with compose(settings, emit=Telemetry().emit, descriptor_limit=1024) as composition:
        if rule is None:
            await composition.events.queues.check()
            return
        with pytest.raises(SettingsError, match=rule) as caught:
            await composition.events.queues.check()
    (fault,) = caught.value.faults
    assert fault.startswith("functions.resize.event_invoke_config.event_queue_arn: ")
    assert "/123456789012/events" in fault


async def test_no_event_is_accepted_for_an_sqs_queue_in_which_it_could_be_lost(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp
) -> None:
    events = aws.create_queue("events", dead_letter_queue=aws.create_queue("dead"), maximum_receive_count=3)
    settings = with_an_sqs_queue(tmp_path, services, aws)
    async with compose(settings, emit=Telemetry().emit, descriptor_limit=1024) as composition:
        with pytest.raises(EventQueueRefused, match="has a redrive policy"):
            await composition.events.acceptor.accept(RESIZE, b"{}", request_id=RequestId("8f3"))
    assert not events.message_ids


@pytest.mark.slow
async def test_the_start_does_not_wait_long_for_an_sqs_that_does_not_answer(
    tmp_path: Path, services: dict[FunctionName, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDFIRST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr("poller.composition.event_queues.LONGEST_CHECK_IN_SECONDS", 0.5)

    async def never(_: Request) -> Reply:
        await anyio.sleep_forever()
        raise AssertionError("a request without an answer ends with its connection")

    async with http_server(never) as silent:
        settings = settings_of(
            tmp_path, services, f'event_queue_arn = "{QUEUE}events"', state=f'endpoint_url = "{silent.url}"'
        )
        async with compose(settings, emit=Telemetry().emit, descriptor_limit=1024) as composition:
            with anyio.fail_after(5):
                await composition.events.queues.check()


async def test_a_missing_sqs_event_queue_is_reported_and_does_not_stop_other_functions(
    tmp_path: Path, services: dict[FunctionName, Service], aws: AwsOverHttp, watch: Watch
) -> None:
    async with daemon_of(with_an_sqs_queue(tmp_path, services, aws)) as daemon:
        await watch.until(lambda: daemon.status(RESIZE).attempt is not None)
        status = daemon.status(RESIZE)
        assert status.state == "starting"
        assert "QueueDoesNotExist" in (status.reason or "")
        assert f"{QUEUE}events" in (status.reason or "")
        await daemon.accept(AUDIT, b"{}")
        await services[AUDIT].until_asked(1)
