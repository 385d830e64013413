"""How does each mapping stand right now?"""

from __future__ import annotations

from collections.abc import Sequence

from poller.model.ids import FunctionName, MappingName
from poller.model.status import MappingStatus
from poller.telemetry.recorder import Recorder

READY = MappingStatus(MappingName("orders"), FunctionName("store"), "arn", "ready", None, 2, 3, 34, 8)
TROUBLED = MappingStatus(MappingName("invoices"), FunctionName("store"), "arn", "troubled", "gone", 1, 0, 0, 1)
DISABLED = MappingStatus(MappingName("old"), FunctionName("store"), "arn", "disabled", None, 0, 0, 0, 1)


def watching(statuses: list[MappingStatus]) -> Recorder:
    recorder = Recorder(mappings={}, functions=[])
    recorder.watch(lambda: statuses)
    return recorder


def gauge(recorder: Recorder, name: str) -> dict[str, float]:
    return {
        sample.labels["mapping"]: sample.value
        for family in recorder.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_the_gauges_show_the_status_at_the_moment_of_the_scrape() -> None:
    statuses = [READY]
    recorder = watching(statuses)
    assert gauge(recorder, "poller_mapping_ready") == {"orders": 1}
    assert gauge(recorder, "poller_polls_in_flight") == {"orders": 2}
    assert gauge(recorder, "poller_invocations_in_flight") == {"orders": 3}
    assert gauge(recorder, "poller_messages_held") == {"orders": 34}
    assert gauge(recorder, "poller_concurrency_limit") == {"orders": 8}
    statuses[:] = [READY._replace(polls_in_flight=0), TROUBLED]
    assert gauge(recorder, "poller_polls_in_flight") == {"orders": 0, "invoices": 1}


def test_a_mapping_that_is_not_ready_shows_zero() -> None:
    assert gauge(watching([TROUBLED]), "poller_mapping_ready") == {"invoices": 0}


def test_a_disabled_mapping_has_no_gauges() -> None:
    assert gauge(watching([DISABLED]), "poller_mapping_ready") == {}


def test_the_statuses_are_not_asked_for_before_the_first_scrape() -> None:
    def too_early() -> Sequence[MappingStatus]:
        raise AssertionError("nobody has scraped yet")

    Recorder(mappings={}, functions=[]).watch(too_early)
