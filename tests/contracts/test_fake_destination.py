"""Does the fake destination fail as a service does?"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import anyio
import pytest
from trio.testing import MockClock

from poller.core.invocation_record import document_of
from poller.errors import AccessDenied, ServiceError, Throttled, Unreachable
from tests.contracts.test_destination import BATCH
from tests.fakes.destinations import FakeDestination
from tests.fakes.faults import Fault, FaultPlan

pytestmark = pytest.mark.anyio

ONE, TWO = (document_of(BATCH, event=b"{}", document_id=UUID(int=number)) for number in (1, 2))


@pytest.fixture
def anyio_backend() -> Any:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.mark.parametrize(
    ("fault", "error"),
    [(Fault.THROTTLED, Throttled), (Fault.UNREACHABLE, Unreachable), (Fault.ACCESS_DENIED, AccessDenied)],
)
async def test_a_request_lost_before_it_arrived_has_no_effect(fault: Fault, error: type[ServiceError]) -> None:
    destination = FakeDestination()
    destination.faults.script("deliver", fault)
    with pytest.raises(error):
        await destination.deliver(ONE)
    await destination.deliver(TWO)
    assert destination.taken == [TWO]


async def test_a_request_whose_answer_was_lost_has_an_effect() -> None:
    destination = FakeDestination()
    destination.faults.script("deliver", Fault.ANSWER_LOST)
    with pytest.raises(Unreachable) as caught:
        await destination.deliver(ONE)
    await destination.deliver(ONE)
    await destination.deliver(TWO)
    assert caught.value.was_sent
    assert destination.taken == [ONE, ONE, TWO]


async def test_a_delivery_is_given_up_after_ten_seconds() -> None:
    destination = FakeDestination(faults=FaultPlan(slow_answer_in_seconds=60))
    destination.faults.script("deliver", Fault.ANSWER_SLOW)
    began = anyio.current_time()
    with pytest.raises(Unreachable):
        await destination.deliver(ONE)
    assert anyio.current_time() - began == 10
    assert destination.taken == [ONE]
