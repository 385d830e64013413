"""How much do all processes of the daemon use?"""

from __future__ import annotations

import sys

import pytest
from prometheus_client import CollectorRegistry

from poller.telemetry.processes import SUMMED, Usage, kept, own_usage
from poller.telemetry.series import register_process

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="prometheus_client reads /proc")

CPU, RESIDENT, VIRTUAL, OPEN = SUMMED


def shown(*others: Usage) -> dict[str, float]:
    registry = CollectorRegistry()
    register_process(registry, lambda: others)
    return {
        sample.name: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name.startswith("process_")
    }


def test_the_usage_of_other_processes_is_added() -> None:
    alone, together = shown(), shown({CPU: 1e6, OPEN: 1e6}, {CPU: 2e6, VIRTUAL: 1e15})
    assert together[CPU] - alone[CPU] == pytest.approx(3e6, rel=0.01)
    assert together[OPEN] - alone[OPEN] == pytest.approx(1e6, rel=0.01)
    assert together[VIRTUAL] - alone[VIRTUAL] == pytest.approx(1e15, rel=0.01)
    assert together["process_start_time_seconds"] == alone["process_start_time_seconds"]
    assert together["process_max_fds"] == alone["process_max_fds"]


def test_a_process_knows_its_own_usage() -> None:
    usage = own_usage()
    assert usage.keys() == set(SUMMED)
    assert all(value > 0 for value in usage.values())


def test_only_the_cpu_time_of_an_ended_process_is_kept() -> None:
    first = {CPU: 2.0, RESIDENT: 5.0}
    assert kept({CPU: 3.0, RESIDENT: 7.0}, kept(first, {})) == {CPU: 5.0}
    assert kept({}, {CPU: 5.0}) == {CPU: 5.0}
