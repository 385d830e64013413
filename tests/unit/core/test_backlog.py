"""How are the backlogs of mappings and workers put together, and when is a backlog unknown?"""

from __future__ import annotations

import pytest

from poller.core.backlog import has_work, of_mappings, of_workers, why_unknown
from poller.model.backlog import Backlog, UnknownBacklog
from poller.model.ids import FunctionName, MappingName
from poller.model.status import MappingState, MappingStatus

FIRST, SECOND = Backlog(20.0, 3, 100, 6), Backlog(50.0, 4, 80, 9)


def test_the_mappings_of_a_worker_catch_up_at_the_same_time_and_add_their_messages_and_events() -> None:
    assert of_mappings([FIRST, SECOND]) == Backlog(50.0, 7, 180, 15)


def test_the_workers_of_a_daemon_count_the_same_messages_and_events() -> None:
    assert of_workers([FIRST, SECOND]) == Backlog(50.0, 7, 100, 9)


def test_without_mappings_no_work_waits() -> None:
    assert of_mappings([]) == of_workers([]) == Backlog(0.0, 0, 0)


def test_the_backlog_of_a_daemon_is_unknown_if_it_is_unknown_for_one_worker() -> None:
    assert of_workers([FIRST, UnknownBacklog("mapping clicks is troubled")]) == UnknownBacklog(
        "mapping clicks is troubled"
    )


@pytest.mark.parametrize(
    ("state", "is_known", "works"),
    [
        ("ready", True, True),
        ("paused", True, False),
        ("disabled", True, False),
        ("starting", False, True),
        ("waiting", False, True),
        ("troubled", False, True),
        ("stopping", False, True),
    ],
)
def test_a_backlog_is_known_while_the_mapping_can_work_it_off_or_needs_no_worker(
    state: MappingState, is_known: bool, works: bool
) -> None:
    status = MappingStatus(MappingName("clicks"), FunctionName("store"), "arn", state, "its reason", 0, 0, 0, 1)
    assert why_unknown(status) == (None if is_known else f"mapping clicks is {state}: its reason")
    assert has_work(status) is works
