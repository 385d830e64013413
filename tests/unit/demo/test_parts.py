"""Is the settings file that the parts make together valid, and does it have the options that the parts need?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from poller.core.filtering import compile_filters
from poller.core.queues.visibility import effective_visibility
from poller.demo.books import Part
from poller.demo.clicks import story as clicks
from poller.demo.clicks.part import Clicks
from poller.demo.clients import Clients
from poller.demo.daemon import settings
from poller.demo.signups.part import Signups
from poller.demo.signups.stage import CSV_EVENTS, DONE, FAILED, USERS
from poller.demo.signups.story import FIFO, QUEUES, STANDARD, VISIBILITY_TIMEOUT_IN_SECONDS, WELCOME
from poller.model.function import ChildProcess
from poller.model.stream import TrimHorizon
from poller.settings.loading import load
from poller.settings.values import Settings

NOBODY = Clients(None, None, None, None, None)
ACCOUNT = "us-east-1:000000000000"


@pytest.fixture
def loaded(tmp_path: Path) -> Settings:
    signups, stream = Signups(NOBODY, tmp_path, api="127.0.0.1:9465"), Clicks(NOBODY, tmp_path)
    queues = [*(queue.name for queue in QUEUES), CSV_EVENTS, DONE, FAILED]
    signups.stage.arns |= {queue: f"arn:aws:sqs:{ACCOUNT}:{queue}" for queue in queues}
    signups.stage.urls |= {queue: f"http://127.0.0.1:4566/000000000000/{queue}" for queue in queues}
    signups.stage.arns[USERS] = f"arn:aws:dynamodb:{ACCOUNT}:table/{USERS}/stream/2026-01-01T00:00:00.000"
    stream.stage.arns[clicks.STREAM] = f"arn:aws:kinesis:{ACCOUNT}:stream/{clicks.STREAM}"
    stream.stage.arns[clicks.FAILURES] = f"arn:aws:sqs:{ACCOUNT}:{clicks.FAILURES}"
    parts: list[Part] = [signups, stream]
    path = tmp_path / "poller.toml"
    head = settings("http://127.0.0.1:4566", "127.0.0.1:9464", "127.0.0.1:9465", {})
    path.write_text(head + "".join(part.settings() for part in parts), encoding="utf-8")
    return load(path, {})


def test_both_queues_are_read_and_failed_items_are_reported(loaded: Settings) -> None:
    names = {mapping.name: mapping.event_source_arn.resource for mapping in loaded.queue_mappings}
    assert names == {queue.mapping: queue.name for queue in QUEUES}
    assert all(mapping.report_batch_item_failures and mapping.filters for mapping in loaded.queue_mappings)


def test_both_streams_are_read_from_their_oldest_record(loaded: Settings) -> None:
    assert {mapping.name for mapping in loaded.stream_mappings} == {WELCOME, clicks.MAPPING}
    assert {mapping.starting_position for mapping in loaded.stream_mappings} == {TrimHorizon()}


def test_the_settings_of_the_demo_need_no_advice(loaded: Settings) -> None:
    assert loaded.warnings == ()


def test_only_new_users_of_the_fifo_queue_get_a_mail(loaded: Settings) -> None:
    [welcome] = [mapping for mapping in loaded.stream_mappings if mapping.name == WELCOME]
    filters = compile_filters(welcome.filters, data_key="dynamodb")
    assert filters.matches(change(FIFO.name, times_stored=1))
    assert not filters.matches(change(FIFO.name, times_stored=2))
    assert not filters.matches(change(STANDARD.name, times_stored=1))
    assert not filters.matches({"eventName": "REMOVE", "dynamodb": {"Keys": {"queue": {"S": FIFO.name}}}})


def test_the_poison_record_is_isolated_in_a_lane_and_reported(loaded: Settings) -> None:
    [mapping] = [mapping for mapping in loaded.stream_mappings if mapping.name == clicks.MAPPING]
    assert mapping.bisect_batch_on_function_error
    assert mapping.parallelization_factor == clicks.LANES
    assert mapping.maximum_retry_attempts == clicks.MAXIMUM_RETRY_ATTEMPTS
    assert mapping.on_failure is not None
    assert mapping.on_failure.destination_arn.resource == clicks.FAILURES


def test_the_functions_are_the_packages_examples(loaded: Settings) -> None:
    kinds = {name: function.kind for name, function in loaded.functions.items()}
    assert {name: kind.handler for name, kind in kinds.items() if isinstance(kind, ChildProcess)} == {
        "process_csv": "poller.examples.signup.uploads:process_csv",
        "insert_records": "poller.examples.signup.functions:insert_records",
        "send_email": "poller.examples.signup.functions:send_email",
        "count_clicks": "poller.examples.clicks.functions:count_clicks",
    }


def test_the_queues_visibility_timeout_is_long_enough_for_the_functions(loaded: Settings) -> None:
    for mapping in loaded.queue_mappings:
        visibility = effective_visibility(
            queue_timeout_in_seconds=VISIBILITY_TIMEOUT_IN_SECONDS,
            window_in_seconds=mapping.maximum_batching_window_in_seconds,
            function_timeout_in_seconds=loaded.functions[mapping.function_name].timeout_in_seconds,
            is_fifo=mapping.is_fifo,
        )
        assert visibility.advice is None


def change(queue: str, *, times_stored: int) -> dict[str, Any]:
    return {"dynamodb": {"NewImage": {"queue": {"S": queue}, "times_stored": {"N": str(times_stored)}}}}
