from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from poller.errors import SettingsError
from poller.event_queues import by_hand
from poller.event_queues.by_hand import Listed, Listing, drop, listed, retry, shown
from poller.event_queues.notation import rest_of
from poller.event_queues.rows import Claimed, put, put_back, take
from poller.event_queues.schema import shared
from poller.model.event import Ending, Event, LastAttempt, TakenEvent
from poller.model.ids import RequestId
from tests.fakes.clock import EPOCH
from tests.fakes.events import MAIL, RESIZE, event

NOW = EPOCH

ENDING = Ending(
    condition="Success",
    at=NOW,
    last=LastAttempt(status_code=200, payload=b"{}"),
    deliveries=("on_success",),
    rejections=3,
    rejected_since=NOW - 60,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


@contextmanager
def daemon(path: Path, *events: Event) -> Iterator[list[TakenEvent]]:
    """Keep the file open as a daemon does, within the block. Put the events, and claim the events of `mail`."""
    with shared(path) as file:
        put(file, events)
        yield take(file, MAIL, claim="its claim", count=10, now=NOW, until=NOW + 60)


def states(path: Path, function: str = RESIZE, now: float = NOW) -> list[Listed]:
    return listed(path, RESIZE if function == RESIZE else MAIL, now=now).events


def test_events_are_listed_without_their_payloads_and_the_oldest_first(path: Path) -> None:
    waiting = event(NOW, due_in=30, payload=b'{"a": 1}', attempts=1)
    stuck = event(NOW - 10, stuck="AccessDenied", ending=ENDING)
    claimed = event(NOW, function=MAIL)
    with daemon(path, waiting, stuck, claimed):
        assert listed(path, RESIZE, now=NOW) == Listing(
            [
                Listed(stuck.request_id, NOW - 10, NOW - 10, 0, False, True, "AccessDenied", 2),
                Listed(waiting.request_id, NOW, NOW + 30, 1, False, False, "", 8),
            ],
            2,
        )
        [mail] = listed(path, MAIL, now=NOW).events
        assert mail.is_claimed
        [mail] = listed(path, MAIL, now=NOW + 60).events
        assert not mail.is_claimed


def test_only_the_oldest_events_are_listed_but_all_are_counted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(by_hand, "MAXIMUM_LISTED", 3)
    events = [event(NOW + number) for number in range(5)]
    with daemon(path, *events):
        listing = listed(path, RESIZE, now=NOW)
    assert [each.request_id for each in listing.events] == [each.request_id for each in events[:3]]
    assert listing.total == 5


def test_one_event_is_shown_with_its_payload(path: Path) -> None:
    put = event(NOW, payload=b'{"a": 1}', stuck="AccessDenied", ending=ENDING)
    with daemon(path, put, event(NOW)):
        assert shown(path, RESIZE, put.request_id) == put
        assert shown(path, MAIL, put.request_id) is None
        assert shown(path, RESIZE, RequestId("another")) is None


@pytest.mark.parametrize("is_one", [True, False], ids=["one", "all"])
def test_a_retried_stuck_event_is_taken_at_once_without_its_rejections(path: Path, is_one: bool) -> None:
    first = event(NOW, due_in=100, stuck="AccessDenied", ending=ENDING)
    second = event(NOW, due_in=100, stuck="NotFound")
    waiting = event(NOW, due_in=100)
    with daemon(path, first, second, waiting, event(NOW, function=MAIL, stuck="NotFound")):
        assert retry(path, RESIZE, first.request_id if is_one else None, now=NOW + 1) == (1 if is_one else 2)
        with shared(path) as file:
            taken = take(file, RESIZE, claim="c", count=10, now=NOW + 1, until=NOW + 60)
        retried = replace(first, due_at=NOW + 1, stuck="", ending=replace(ENDING, rejections=0, rejected_since=None))
        also = [] if is_one else [replace(second, due_at=NOW + 1, stuck="")]
        assert [each.event for each in taken] == [retried, *also]
        assert len(states(path, MAIL)) == 1


def test_a_retry_does_not_change_an_event_that_is_not_stuck(path: Path) -> None:
    waiting = event(NOW, due_in=100)
    with daemon(path, waiting):
        assert retry(path, RESIZE, waiting.request_id, now=NOW) == 0
        assert shown(path, RESIZE, waiting.request_id) == waiting


@pytest.mark.parametrize("is_one", [True, False], ids=["one", "all"])
def test_a_drop_removes_events_and_their_payloads(path: Path, is_one: bool) -> None:
    stuck, waiting, other = event(NOW, stuck="NotFound"), event(NOW), event(NOW, function=MAIL)
    with daemon(path, stuck, waiting, other):
        assert drop(path, RESIZE, stuck.request_id if is_one else None, now=NOW) == (1 if is_one else 2)
        assert [each.request_id for each in states(path)] == ([waiting.request_id] if is_one else [])
        assert len(states(path, MAIL)) == 1
        with shared(path) as file:
            assert file.execute("SELECT count(*) FROM payload").fetchone() == (2 if is_one else 1,)


def test_a_claimed_event_cannot_be_dropped_before_its_claim_has_ended(path: Path) -> None:
    with daemon(path, event(NOW, function=MAIL)):
        assert drop(path, MAIL, None, now=NOW + 59) == 0
        assert drop(path, MAIL, None, now=NOW + 60) == 1


def test_a_dropped_event_cannot_be_put_back(path: Path) -> None:
    with daemon(path, event(NOW, function=MAIL)) as [taken]:
        drop(path, MAIL, None, now=NOW + 60)
        with shared(path) as file:
            put_back(file, Claimed.of(taken), taken.event, rest_of(taken.event))
        assert states(path, MAIL) == []


def test_a_file_that_does_not_exist_has_no_events(path: Path) -> None:
    assert listed(path, RESIZE, now=NOW) == Listing([], 0)
    assert shown(path, RESIZE, RequestId("any")) is None
    assert retry(path, RESIZE, None, now=NOW) == drop(path, RESIZE, None, now=NOW) == 0
    assert not path.exists()


def test_a_file_of_another_program_is_not_changed(path: Path) -> None:
    path.write_bytes(b"a text that is longer than the header of a database" * 10)
    with pytest.raises(SettingsError, match="file is not a database"):
        drop(path, RESIZE, None, now=NOW)
    assert path.read_bytes().startswith(b"a text")
