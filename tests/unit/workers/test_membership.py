"""What do a worker and its parent say to each other?"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import pytest

from poller.engine.stop import Stop
from poller.model.lease import Owner
from poller.workers.channel import Channel
from poller.workers.membership import DIED, HURRY, REPORT, STOP, Membership, Parent
from poller.workers.report import Report, decoded

pytestmark = pytest.mark.anyio


class Talk:
    """A worker and its parent's end of the channel. The worker counts the reports that it has made."""

    def __init__(self, sockets: ExitStack, seconds_of_a_report: float = 0.0) -> None:
        ours, theirs = socket.socketpair()
        sockets.enter_context(ours)
        self.channel = Channel(ours)
        member = Membership(number=2, of=3, folder="/tmp/poller", channel=theirs.detach())
        self.worker = Parent(member, die=self._die, now=lambda: self.made * seconds_of_a_report)
        sockets.callback(self.worker._channel.close)
        self.stop = Stop()
        self.dead: list[Owner] = []
        self.is_dead = False
        self.made = 0

    def make(self, answers: int) -> Report:
        self.made += 1
        return Report(answers, [], [], {"made": self.made})

    def begin_stop(self) -> None:
        self.stop.begin()

    def hurry(self) -> None:
        self.stop.hurry()

    def died(self, owner: Owner) -> None:
        self.dead.append(owner)

    async def heard(self) -> Report:
        """Return the worker's next report."""
        with anyio.fail_after(10):
            return decoded(await self.channel.receive())

    def _die(self) -> None:
        self.is_dead = True


@asynccontextmanager
async def talking(seconds_of_a_report: float = 0.0) -> AsyncIterator[Talk]:
    with ExitStack() as sockets:
        talk = Talk(sockets, seconds_of_a_report)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(talk.worker.attend, talk, talk.make)
            yield talk
            tasks.cancel_scope.cancel()


@pytest.mark.slow
async def test_a_worker_reports_when_it_has_started_and_then_by_itself() -> None:
    async with talking() as talk:
        assert await talk.heard() == Report(0, [], [], {"made": 1})
        assert await talk.heard() == Report(0, [], [], {"made": 2})


async def test_a_worker_answers_a_question_with_its_number() -> None:
    async with talking() as talk:
        await talk.heard()
        talk.channel.send_nowait(REPORT + b"41")
        talk.channel.send_nowait(REPORT + b"42")
        assert (await talk.heard()).answers == 41
        assert (await talk.heard()).answers == 42


async def test_a_worker_obeys_its_parent() -> None:
    async with talking() as talk:
        await talk.heard()
        talk.channel.send_nowait(STOP)
        with anyio.fail_after(10):
            await talk.stop.draining.wait()
        assert not talk.stop.releasing.is_set()
        talk.channel.send_nowait(STOP)
        talk.channel.send_nowait(REPORT + b"1")
        while (await talk.heard()).answers != 1:
            pass
        assert not talk.stop.releasing.is_set(), "only the first word counts"
        talk.channel.send_nowait(HURRY)
        with anyio.fail_after(10):
            await talk.stop.releasing.wait()


async def test_a_worker_is_told_of_the_death_of_another_worker() -> None:
    async with talking() as talk:
        await talk.heard()
        talk.channel.send_nowait(DIED + b"blue-2/aa")
        talk.channel.send_nowait(REPORT + b"1")
        while (await talk.heard()).answers != 1:
            pass
        assert talk.dead == ["blue-2/aa"]


async def test_a_worker_dies_with_its_parent() -> None:
    async with talking() as talk:
        await talk.heard()
        assert not talk.is_dead
        talk.channel.close()
        with anyio.fail_after(10):
            while not talk.is_dead:
                await anyio.wait_all_tasks_blocked()


async def test_the_last_report_comes_after_the_end_of_all_others() -> None:
    with ExitStack() as sockets:
        talk = Talk(sockets)
        with anyio.CancelScope() as cancelled:
            cancelled.cancel()
            await talk.worker.say_last(talk.make)
        assert await talk.heard() == Report(0, [], [], {"made": 1})
        talk.channel.close()
        await talk.worker.say_last(talk.make)
        assert talk.is_dead


async def test_a_worker_does_not_wait_for_ever_for_a_parent_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("poller.workers.membership.LAST_REPORT_IN_SECONDS", 0.05)
    with ExitStack() as sockets:
        talk = Talk(sockets)
        with anyio.fail_after(10):
            await talk.worker.say_last(lambda answers: Report(answers, [], [], {str(n): n for n in range(100_000)}))


async def test_the_reports_of_a_busy_worker_take_a_small_part_of_its_time() -> None:
    """A report that takes two seconds is followed by a pause of minutes, unless the parent asks."""
    async with talking(seconds_of_a_report=2.0) as talk:
        await talk.heard()
        assert talk.worker.pause_in_seconds == pytest.approx(200.0)
        talk.channel.send_nowait(REPORT + b"1")
        assert (await talk.heard()).answers == 1


def test_a_membership_fits_into_a_command_line() -> None:
    member = Membership(number=2, of=3, folder="/tmp/poller-x", channel=7, api_listeners=(5, 6), has_colors=True)
    assert Membership.parsed(str(member)) == member
    assert member.socket_path == Path("/tmp/poller-x/2")
    assert member.settings_copy == Path("/tmp/poller-x/settings.toml")


def test_the_inherited_sockets_do_not_block_the_event_loop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        member = Membership(number=1, of=1, folder="", channel=0, api_listeners=(listener.dup().detach(),))
        (inherited,) = member.sockets()
        with inherited:
            assert inherited.getsockname() == listener.getsockname()
            assert not inherited.getblocking()
