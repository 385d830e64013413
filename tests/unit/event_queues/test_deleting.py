"""Are many messages deleted with few requests?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from poller.errors import ServiceError, Unreachable
from poller.event_queues.deleting import Deleter
from poller.model.ids import MessageId, ReceiptHandle
from poller.model.message import Message, RejectedEntry

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def message(number: int) -> Message:
    return Message(MessageId(""), ReceiptHandle(str(number)), None, 0.0, {})


class Requests:
    """A queue whose requests take a second. `batches` has the receipt handles of each request."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.rejects: set[str] = set()
        self.errors: list[ServiceError] = []
        self.deleter = Deleter(self._delete)

    async def _delete(self, messages: Sequence[Message]) -> list[RejectedEntry]:
        self.batches.append([each.receipt_handle for each in messages])
        await anyio.sleep(1.0)
        if self.errors:
            raise self.errors.pop()
        return [RejectedEntry(each, "No", is_final=False) for each in messages if each.receipt_handle in self.rejects]

    async def delete(self, count: int) -> dict[int, object]:
        """Delete this number of messages at the same time. Return the result or the error of each."""
        results: dict[int, object] = {}

        async def one(number: int) -> None:
            try:
                results[number] = await self.deleter.delete(message(number))
            except ServiceError as error:
                results[number] = error

        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(one, number)
                await anyio.wait_all_tasks_blocked()
        return results


async def test_messages_that_wait_for_a_request_share_the_next_one() -> None:
    requests = Requests()
    assert set((await requests.delete(25)).values()) == {None}
    assert [len(batch) for batch in requests.batches] == [1, 10, 10, 4]
    assert [handle for batch in requests.batches for handle in batch] == [str(number) for number in range(25)]


async def test_only_the_rejected_message_of_a_request_is_returned_as_rejected() -> None:
    requests = Requests()
    requests.rejects = {"2"}
    results = await requests.delete(4)
    assert [number for number, result in results.items() if result is not None] == [2]


async def test_the_error_of_a_request_reaches_each_of_its_messages_and_no_other() -> None:
    requests = Requests()
    requests.errors = [Unreachable("no answer", code="Timeout", was_sent=True)]
    results = await requests.delete(3)
    assert isinstance(results[0], Unreachable)
    assert (results[1], results[2]) == (None, None)
    requests.errors = [Unreachable("no answer", code="Timeout", was_sent=True) for _ in range(2)]
    assert all(isinstance(result, Unreachable) for result in (await requests.delete(3)).values())


async def test_a_cancelled_task_does_not_keep_others_from_deleting_their_messages() -> None:
    requests = Requests()
    async with anyio.create_task_group() as tasks:
        with anyio.CancelScope() as scope:
            tasks.start_soon(requests.deleter.delete, message(9))
            tasks.start_soon(cancel_after_half_a_second, scope)
            await requests.deleter.delete(message(0))
    assert requests.batches[-1] == ["9"]
    assert requests.deleter._waiting == []


async def cancel_after_half_a_second(scope: anyio.CancelScope) -> None:
    await anyio.sleep(0.5)
    scope.cancel()
