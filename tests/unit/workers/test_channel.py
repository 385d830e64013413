"""How do a parent and its worker send messages to each other?"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing

import anyio
import pytest

from poller.workers.channel import Channel, EndOfChannel

pytestmark = pytest.mark.anyio

LARGE = bytes(range(256)) * 20_000
"""More than the system keeps between the two sides."""


@pytest.fixture
def sides() -> Iterator[tuple[Channel, Channel]]:
    one, other = map(Channel, socket.socketpair())
    with closing(one), closing(other):
        yield one, other


async def test_messages_of_any_size_arrive_in_order(sides: tuple[Channel, Channel]) -> None:
    one, other = sides
    messages = [b"", b"stop", LARGE, b"\n", LARGE]
    async with anyio.create_task_group() as tasks:
        with anyio.fail_after(30):

            async def send() -> None:
                for message in messages:
                    await one.send(message)

            tasks.start_soon(send)
            assert [await other.receive() for _ in messages] == messages


async def test_both_sides_may_send(sides: tuple[Channel, Channel]) -> None:
    one, other = sides
    one.send_nowait(b"report 1")
    other.send_nowait(b"a report")
    assert (await one.receive(), await other.receive()) == (b"a report", b"report 1")


async def test_the_last_message_arrives_before_the_end(sides: tuple[Channel, Channel]) -> None:
    one, other = sides
    await one.send(b"the last report")
    one.close()
    assert await other.receive() == b"the last report"
    with pytest.raises(EndOfChannel):
        await other.receive()


async def test_a_part_of_a_message_at_the_end_is_no_message(sides: tuple[Channel, Channel]) -> None:
    one, other = sides
    with anyio.move_on_after(0.1):
        await one.send(LARGE)
    one.close()
    with anyio.fail_after(30), pytest.raises(EndOfChannel):
        await other.receive()


async def test_no_side_can_send_after_the_end_of_the_other_side(sides: tuple[Channel, Channel]) -> None:
    one, other = sides
    other.close()
    with pytest.raises(EndOfChannel):
        await one.send(b"report 1")
    with pytest.raises(EndOfChannel):
        one.send_nowait(b"report 1")


async def test_a_cancelled_receive_loses_nothing(sides: tuple[Channel, Channel]) -> None:
    one, other = sides
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one.send, LARGE)
        with anyio.fail_after(30):
            received = b""
            while not received:
                with anyio.move_on_after(0):
                    received = await other.receive()
                await anyio.wait_all_tasks_blocked()
    assert received == LARGE


@pytest.mark.slow
async def test_a_message_to_a_side_that_does_not_read_is_lost_without_a_wait(sides: tuple[Channel, Channel]) -> None:
    one, other = sides
    for number in range(100_000):
        one.send_nowait(b"report %d" % number)
    assert await other.receive() == b"report 0"
