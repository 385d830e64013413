"""Which gauges does each mapping have?"""

from __future__ import annotations

from collections.abc import Sequence

from poller.model.ids import FunctionName, MappingName
from poller.model.lease import Owner
from poller.model.sharing import SeenWorker, SharingStatus
from poller.model.status import BlockedShard, EventsStatus, MappingStatus, ReloadStatus, StreamStatus
from poller.model.stream import ShardId
from poller.telemetry.telemetry import Telemetry

READY = MappingStatus(MappingName("orders"), FunctionName("store"), "arn", "ready", None, 2, 3, 34, 8)
TROUBLED = MappingStatus(MappingName("invoices"), FunctionName("store"), "arn", "troubled", "gone", 1, 0, 0, 1)
DISABLED = MappingStatus(MappingName("old"), FunctionName("store"), "arn", "disabled", None, 0, 0, 0, 1)
STREAM = StreamStatus(
    iterator_age_in_seconds=90.5,
    checkpoint_age_in_seconds=1.5,
    shards_reading=4,
    shards_waiting=2,
    shards_drained=1,
    shards_blocked=3,
    bytes_buffered=2**20,
    blocked=(BlockedShard(ShardId("shardId-000000000007"), "KeyError", 0.0),),
)
EVENTS = READY._replace(
    mapping=MappingName("store:events"),
    events=EventsStatus(waiting=5, in_flight=2, stuck=1, oldest_age_in_seconds=7.5),
)
CLICKS = READY._replace(mapping=MappingName("clicks"), stream=STREAM)


def watching(statuses: list[MappingStatus]) -> Telemetry:
    telemetry = Telemetry()
    telemetry.watch(lambda: statuses)
    return telemetry


def gauge(telemetry: Telemetry, name: str) -> dict[str, float]:
    return {
        sample.labels["mapping"]: sample.value
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def test_the_gauges_show_the_status_at_the_moment_of_the_scrape() -> None:
    statuses = [READY]
    telemetry = watching(statuses)
    assert gauge(telemetry, "poller_mapping_ready") == {"orders": 1}
    assert gauge(telemetry, "poller_receives_in_flight") == {"orders": 2}
    assert gauge(telemetry, "poller_invocations_in_flight") == {"orders": 3}
    assert gauge(telemetry, "poller_records_held") == {"orders": 34}
    assert gauge(telemetry, "poller_concurrency_limit") == {"orders": 8}
    statuses[:] = [READY._replace(polls_in_flight=0), TROUBLED]
    assert gauge(telemetry, "poller_receives_in_flight") == {"orders": 0, "invoices": 1}


def test_a_mapping_that_is_not_ready_shows_zero() -> None:
    assert gauge(watching([TROUBLED]), "poller_mapping_ready") == {"invoices": 0}


def test_a_mapping_that_waits_for_its_function_is_ready_and_waiting() -> None:
    telemetry = watching([READY, READY._replace(mapping=MappingName("bills"), state="waiting")])
    assert gauge(telemetry, "poller_mapping_ready") == {"orders": 1, "bills": 1}
    assert gauge(telemetry, "poller_mapping_waiting") == {"orders": 0, "bills": 1}


def test_the_age_of_a_stream_of_which_no_shard_is_read_is_unknown() -> None:
    telemetry = watching([CLICKS, CLICKS._replace(mapping=MappingName("views"), stream=StreamStatus())])
    assert gauge(telemetry, "poller_iterator_age_seconds") == {"clicks": 90.5}
    assert gauge(telemetry, "poller_shards_blocked") == {"clicks": 3, "views": 0}


def test_a_stream_shows_the_age_of_its_records_and_the_states_of_its_shards() -> None:
    telemetry = watching([READY, CLICKS])
    assert gauge(telemetry, "poller_iterator_age_seconds") == {"clicks": 90.5}
    assert gauge(telemetry, "poller_checkpoint_age_seconds") == {"clicks": 1.5}
    assert gauge(telemetry, "poller_shards_blocked") == {"clicks": 3}
    assert gauge(telemetry, "poller_buffered_bytes") == {"clicks": 2**20}
    shards = {
        tuple(sample.labels.values()): sample.value
        for family in telemetry.registry.collect()
        for sample in family.samples
        if sample.name == "poller_shards"
    }
    assert shards == {("clicks", "reading"): 4, ("clicks", "waiting"): 2, ("clicks", "drained"): 1}


def test_a_stream_has_no_receives_in_flight() -> None:
    telemetry = watching([READY, CLICKS])
    assert gauge(telemetry, "poller_receives_in_flight") == {"orders": 2}
    assert gauge(telemetry, "poller_records_held") == {"orders": 34, "clicks": 34}


def test_no_shard_is_a_label() -> None:
    values = {
        value
        for family in watching([CLICKS]).registry.collect()
        for sample in family.samples
        for value in sample.labels.values()
    }
    assert not [value for value in values if "shardId" in value]


def test_a_disabled_mapping_has_no_gauges() -> None:
    assert gauge(watching([DISABLED]), "poller_mapping_ready") == {}


def test_the_statuses_are_not_read_before_the_first_scrape() -> None:
    def too_early() -> Sequence[MappingStatus]:
        raise AssertionError("there was no scrape yet")

    Telemetry().watch(too_early)


def test_a_paused_mapping_has_only_the_gauge_that_it_is_paused() -> None:
    paused = CLICKS._replace(mapping=MappingName("paused"), state="paused")
    telemetry = watching([READY, paused])
    assert gauge(telemetry, "poller_mapping_paused") == {"orders": 0, "paused": 1}
    shown = {
        sample.name
        for family in telemetry.registry.collect()
        for sample in family.samples
        if "paused" in sample.labels.values()
    }
    assert shown == {"poller_mapping_paused"}


def test_the_events_of_a_function_have_gauges_of_the_function_and_none_of_a_mapping() -> None:
    telemetry = watching([READY, EVENTS._replace(state="waiting")])
    shown = {
        (sample.name, *sample.labels.values()): sample.value
        for family in telemetry.registry.collect()
        for sample in family.samples
        if "function" in sample.labels
    }
    assert shown == {
        ("poller_events_ready", "store"): 1,
        ("poller_events_waiting", "store"): 1,
        ("poller_event_invocations_in_flight", "store"): 3,
        ("poller_event_queue_events", "store", "waiting"): 5,
        ("poller_event_queue_events", "store", "in_flight"): 2,
        ("poller_event_queue_events", "store", "stuck"): 1,
        ("poller_event_queue_oldest_event_age_seconds", "store"): 7.5,
    }
    assert gauge(watching([READY, TROUBLED]), "poller_mapping_ready") == {"orders": 1, "invoices": 0}
    values = {value for family in telemetry.registry.collect() for s in family.samples for value in s.labels.values()}
    assert "store:events" not in values


def test_events_in_trouble_are_not_ready() -> None:
    telemetry = watching([EVENTS._replace(state="troubled")])
    (ready,) = [s for family in telemetry.registry.collect() for s in family.samples if s.name == "poller_events_ready"]
    assert ready.value == 0


def test_the_gauges_of_the_last_reload_show_its_status_at_the_moment_of_the_scrape() -> None:
    telemetry, statuses = Telemetry(), [ReloadStatus(was_successful=True, succeeded_at=1_767_225_600.5)]
    telemetry.watch_reloads(lambda: statuses[-1])
    for was_successful in (True, False):
        statuses.append(ReloadStatus(was_successful=was_successful, succeeded_at=1_767_225_600.5))
        samples = {sample.name: sample.value for family in telemetry.registry.collect() for sample in family.samples}
        assert samples["poller_config_last_reload_successful"] == was_successful
        assert samples["poller_config_last_reload_success_timestamp_seconds"] == 1_767_225_600.5


def test_the_gauges_of_shared_leases_show_the_status_and_are_missing_without_one() -> None:
    found: list[SharingStatus | None] = [None]
    telemetry = Telemetry()
    telemetry.watch_sharing(lambda: found[0])
    assert "poller_workers" not in samples(telemetry)
    workers = (SeenWorker(Owner("a/1"), 4, 0.0, is_stopping=False), SeenWorker(Owner("b/2"), 3, 0.0, is_stopping=True))
    found[0] = SharingStatus(Owner("a/1"), 4, 2, workers, 0.5, 1.5, 2.5)
    shown = samples(telemetry)
    assert shown["poller_workers"] == 2
    assert (shown["poller_leases{kind=shard}"], shown["poller_leases{kind=unit}"]) == (4, 2)
    assert shown["poller_state_silence_seconds"] == 0.5
    assert shown["poller_worker_heartbeat_age_seconds"] == 1.5
    assert shown["poller_shard_unread_seconds"] == 2.5


def samples(telemetry: Telemetry) -> dict[str, float]:
    return {
        sample.name + "".join(f"{{{name}={value}}}" for name, value in sample.labels.items()): sample.value
        for family in telemetry.registry.collect()
        for sample in family.samples
    }
