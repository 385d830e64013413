"""Is the settings file sound, and are the daemon's own numbers read right?"""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import generate_latest

from poller.core.visibility import effective_visibility
from poller.demo.accounting import Counted
from poller.demo.daemon import counted, settings
from poller.demo.story import QUEUES, VISIBILITY_TIMEOUT_IN_SECONDS
from poller.model.function import ChildProcess
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.settings.loading import load
from poller.telemetry.facts import BatchInvoked, MessagesDeleted, RecordsFilteredOut, RecordsPolled
from poller.telemetry.recorder import Recorder

FIFO, STANDARD = (queue.mapping for queue in QUEUES)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "poller.toml"
    path.write_text(settings("http://127.0.0.1:4566", "127.0.0.1:9464"), encoding="utf-8")
    return path


def test_the_settings_file_is_sound_and_reads_both_queues(file: Path) -> None:
    loaded = load(file, {})
    names = {mapping.name: mapping.event_source_arn.resource for mapping in loaded.queue_mappings}
    assert names == {queue.mapping: queue.name for queue in QUEUES}
    assert all(mapping.report_batch_item_failures and mapping.filters for mapping in loaded.queue_mappings)
    assert loaded.daemon.endpoint_url == "http://127.0.0.1:4566"


def test_the_function_is_the_packages_example(file: Path) -> None:
    function = load(file, {}).functions[FunctionName("insert_records")]
    assert isinstance(function.kind, ChildProcess)
    assert function.kind.handler == "poller.examples.signup.functions:insert_records"


def test_the_queues_visibility_timeout_is_long_enough_to_be_the_one_in_use(file: Path) -> None:
    """A longer one would be used in its place, and the poisoned rows would take minutes to die."""
    loaded = load(file, {})
    for mapping in loaded.queue_mappings:
        visibility = effective_visibility(
            queue_timeout_in_seconds=VISIBILITY_TIMEOUT_IN_SECONDS,
            window_in_seconds=mapping.maximum_batching_window_in_seconds,
            function_timeout_in_seconds=loaded.functions[mapping.function_name].timeout_in_seconds,
        )
        assert visibility.timeout_in_seconds == VISIBILITY_TIMEOUT_IN_SECONDS


def test_the_daemons_metrics_are_read_for_each_mapping() -> None:
    recorder = Recorder(mappings=dict.fromkeys((FIFO, STANDARD), FunctionName("f")), functions=[FunctionName("f")])
    recorder.record(RecordsPolled(FIFO, 7))
    recorder.record(RecordsFilteredOut(FIFO, 2))
    recorder.record(invoked(FIFO, records=5, failed=1))
    recorder.record(MessagesDeleted(FIFO, 6))
    metrics = generate_latest(recorder.registry).decode()
    assert counted(metrics, FIFO) == Counted(
        polled=7,
        filtered_out=2,
        invoked=5,
        failed=1,
        deleted=6,
        invocations={"succeeded": 0, "partly_failed": 1, "failed": 0},
    )
    assert counted(metrics, STANDARD) == Counted(invocations={"succeeded": 0, "partly_failed": 0, "failed": 0})


def invoked(mapping: MappingName, *, records: int, failed: int) -> BatchInvoked:
    return BatchInvoked(
        mapping=mapping,
        function=FunctionName("f"),
        request_id=RequestId("r"),
        outcome="partly_failed",
        records=records,
        failed=failed,
        attempt=1,
        duration=0.1,
        oldest_age=0.1,
        reason="batchItemFailures",
        detail="",
        log_tail="",
    )
