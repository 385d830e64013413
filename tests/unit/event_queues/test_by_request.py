"""Which stuck events does a client list, retry and drop, and which are left alone?"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from poller.admin import answers
from poller.errors import CannotChange
from poller.event_queues.by_hand import listed
from poller.event_queues.by_request import StuckEvents
from poller.event_queues.rows import take
from poller.event_queues.schema import shared
from poller.model.event import Event
from poller.model.ids import FunctionName, RequestId
from tests.fakes.clock import EPOCH
from tests.fakes.events import MAIL, RESIZE, event
from tests.unit.event_queues.test_by_hand import daemon

pytestmark = pytest.mark.anyio

NOW = EPOCH


class Scene:
    """A file of events that a daemon has open. Its settings have only the function `resize`."""

    def __init__(self, folder: Path, *events: Event) -> None:
        self.path = folder / "events.db"
        self._stack = ExitStack()
        self._stack.enter_context(daemon(self.path, *events))
        self.stuck = StuckEvents(f"sqlite://{self.path}", [RESIZE])

    def left(self, function: FunctionName = RESIZE) -> list[RequestId]:
        return [one.request_id for one in listed(self.path, function, now=NOW).events]

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


async def test_only_stuck_events_are_listed_and_their_payloads_are_not(tmp_path: Path) -> None:
    stuck = event(NOW - 60, stuck="AccessDenied", payload=b'{"secret": 1}', attempts=3)
    with Scene(tmp_path, stuck, event(NOW)) as scene:
        report = await scene.stuck.report(RESIZE, now=NOW)
    assert answers.StuckEvents.model_validate(report).total == 1
    [one] = report["events"]
    assert (one["request_id"], one["attempts"], one["size_in_bytes"]) == (stuck.request_id, 3, 13)
    assert one["stuck"] == "AccessDenied"
    assert "secret" not in str(report)


async def test_one_or_all_stuck_events_are_dropped_and_events_that_wait_stay(tmp_path: Path) -> None:
    first, second, third, waiting = (event(NOW, stuck=stuck) for stuck in ("NotFound", "NotFound", "NotFound", ""))
    with Scene(tmp_path, first, second, third, waiting) as scene:
        answer = await scene.stuck.change(RESIZE, "drop", first.request_id, now=NOW)
        assert answers.EventsChanged.model_validate(answer).events == 1
        assert scene.left() == [second.request_id, third.request_id, waiting.request_id]
        assert (await scene.stuck.change(RESIZE, "drop", None, now=NOW))["events"] == 2
        assert scene.left() == [waiting.request_id]
        for which, why in ((None, "no event of"), (waiting.request_id, f"no event {waiting.request_id} of")):
            with pytest.raises(CannotChange, match=f"nothing was changed: {why} resize is stuck"):
                await scene.stuck.change(RESIZE, "drop", which, now=NOW)
        assert scene.left() == [waiting.request_id]


async def test_a_client_may_drop_events_that_wait_but_none_that_a_daemon_has_claimed(tmp_path: Path) -> None:
    stuck, waiting, claimed = event(NOW, stuck="NotFound"), event(NOW, due_in=300), event(NOW)
    with Scene(tmp_path, stuck, waiting, claimed) as scene, shared(scene.path) as file:
        take(file, RESIZE, claim="a daemon", count=1, now=NOW, until=NOW + 60)
        change = partial(scene.stuck.change, RESIZE, "drop", drops_waiting=True, now=NOW)
        with pytest.raises(CannotChange, match=f"no event {claimed.request_id} of resize waits or is stuck"):
            await change(claimed.request_id)
        assert (await change(waiting.request_id))["events"] == 1
        assert (await change(None))["events"] == 1
        assert scene.left() == [claimed.request_id]


async def test_one_or_all_stuck_events_are_retried(tmp_path: Path) -> None:
    first, second = (event(NOW, stuck="NotFound") for _ in range(2))
    with Scene(tmp_path, first, second) as scene:
        assert (await scene.stuck.change(RESIZE, "retry", first.request_id, now=NOW))["events"] == 1
        assert (await scene.stuck.report(RESIZE, now=NOW))["total"] == 1
        assert (await scene.stuck.change(RESIZE, "retry", None, now=NOW))["events"] == 1
        with pytest.raises(CannotChange, match="nothing was changed"):
            await scene.stuck.change(RESIZE, "retry", None, now=NOW)
        assert len(scene.left()) == 2


async def test_all_events_of_a_removed_function_are_stuck_and_can_only_be_dropped(tmp_path: Path) -> None:
    """The daemon in the scene has claimed the events of `mail` for a minute."""
    with Scene(tmp_path, event(NOW, function=MAIL), event(NOW, function=MAIL, stuck="NotFound")) as scene:
        report = await scene.stuck.report(MAIL, now=NOW + 60)
        assert (report["total"], report["is_known"]) == (2, False)
        with pytest.raises(CannotChange, match="the settings no longer have mail"):
            await scene.stuck.change(MAIL, "retry", None, now=NOW + 60)
        assert (await scene.stuck.change(MAIL, "drop", None, now=NOW + 60))["events"] == 2


async def test_a_function_that_neither_the_settings_nor_the_file_know_is_refused(tmp_path: Path) -> None:
    with Scene(tmp_path, event(NOW)) as scene:
        for ask in (scene.stuck.report(MAIL, now=NOW), scene.stuck.change(MAIL, "drop", None, now=NOW)):
            with pytest.raises(CannotChange, match="there is no function mail; the names are resize"):
                await ask
        with pytest.raises(CannotChange, match=r"there is no function rezise; did you mean resize\?"):
            await scene.stuck.report(FunctionName("rezise"), now=NOW)


async def test_without_a_file_no_event_is_stuck(tmp_path: Path) -> None:
    missing = StuckEvents(f"sqlite://{tmp_path}/events.db", [RESIZE])
    assert (await missing.report(RESIZE, now=NOW))["total"] == 0
    with pytest.raises(CannotChange, match="no event is stored"):
        await StuckEvents(None, [RESIZE]).report(RESIZE, now=NOW)


async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_bytes(b"no SQLite file" * 100)
    stuck = StuckEvents(f"sqlite://{tmp_path}/events.db", [RESIZE])
    with pytest.raises(CannotChange, match=r"events\.db"):
        await stuck.report(RESIZE, now=NOW)
