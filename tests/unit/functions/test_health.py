"""What does a mapping report about its function after these answers?"""

from __future__ import annotations

import pytest

from poller.facts import Fact, MappingWaitEnded, MappingWaiting
from poller.functions.health import REASON_LIMIT_IN_CHARACTERS, FunctionHealth
from poller.model.ids import FunctionName, MappingName
from poller.model.invocation import Answered, FunctionError, LostAnswer, Response, TooLarge
from poller.model.outcome import Postponed
from poller.model.status import Health

READY = Health("ready", since=90.0)
THROTTLED = Postponed("ReservedFunctionConcurrentInvocationLimitExceeded", None, is_throttle=True)
REFUSED = Postponed("cannot start node: not found on PATH", None, is_throttle=False)
UNIMPORTABLE = FunctionError(error_type="Runtime.ImportModuleError", message="No module named 'boto3'")
RAISED = FunctionError(error_type="KeyError", message="'email'")
M, F = MappingName("m"), FunctionName("f")


class Clock:
    time = 100.0

    def now(self) -> float:
        return self.time


class Watched:
    """A function's health on a clock that the test sets."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.facts: list[Fact] = []
        self.of_function = FunctionHealth(mapping=M, function=F, clock=self.clock, emit=self.facts.append)

    @property
    def health(self) -> Health:
        return self.of_function.together_with(READY)


def test_a_mapping_whose_function_took_every_batch_has_the_health_of_its_source() -> None:
    troubled = Health("troubled", "gone", 1.0, 2, 3.0)
    assert Watched().health == READY
    assert Watched().of_function.together_with(troubled) == troubled


def test_a_postponed_batch_makes_the_mapping_wait_and_shows_its_tries_and_its_next_try() -> None:
    watched = Watched()
    watched.of_function.postponed(THROTTLED, retry_in=2.0)
    reason = "function f is throttled: ReservedFunctionConcurrentInvocationLimitExceeded"
    assert watched.health == Health("waiting", reason, since=100.0, attempt=1, next_try=102.0)
    watched.clock.time = 103.0
    watched.of_function.postponed(REFUSED, retry_in=4.0)
    reason = "function f cannot be invoked: cannot start node: not found on PATH"
    assert watched.health == Health("waiting", reason, since=100.0, attempt=2, next_try=107.0)


def test_the_reason_is_the_functions_own_message_if_it_has_one() -> None:
    watched = Watched()
    watched.of_function.postponed(Postponed("HTTP.503", None, True, "svc:80: 503: we are full"), retry_in=2.0)
    assert watched.health.reason == "function f is throttled: svc:80: 503: we are full"


def test_with_many_waiting_batches_the_latest_postponement_gives_the_next_try() -> None:
    watched = Watched()
    for retry_in in (2.0, 9.0, 1.0):
        watched.of_function.postponed(THROTTLED, retry_in=retry_in)
        assert watched.health.next_try == 100.0 + retry_in


def test_one_batch_that_the_function_runs_ends_the_wait_of_the_mapping() -> None:
    for answer in (Answered(b""), RAISED):
        watched = Watched()
        watched.of_function.postponed(THROTTLED, retry_in=2.0)
        watched.of_function.postponed(THROTTLED, retry_in=2.0)
        watched.clock.time = 130.0
        watched.of_function.answered(answer, retry_in=None)
        assert watched.health == Health("ready", since=130.0)


def test_a_function_that_cannot_start_makes_the_mapping_wait_and_the_queue_decides_when_it_is_tried() -> None:
    watched = Watched()
    watched.of_function.answered(UNIMPORTABLE, retry_in=None)
    watched.clock.time = 160.0
    watched.of_function.answered(UNIMPORTABLE, retry_in=None)
    reason = "function f cannot start: Runtime.ImportModuleError: No module named 'boto3'"
    assert watched.health == Health("waiting", reason, since=100.0, attempt=2, next_try=None)


def test_no_next_try_is_shown_if_the_last_postponement_has_none() -> None:
    watched = Watched()
    watched.of_function.postponed(THROTTLED, retry_in=2.0)
    watched.of_function.answered(UNIMPORTABLE, retry_in=None)
    assert watched.health.next_try is None


def test_a_function_that_runs_and_fails_does_not_make_the_mapping_wait() -> None:
    watched = Watched()
    watched.of_function.answered(RAISED, retry_in=1.0)
    assert (watched.health, watched.facts) == (READY, [])


@pytest.mark.parametrize("response", [LostAnswer(reason="reset"), TooLarge(error_type="HTTP.413", message="413")])
def test_an_answer_that_does_not_show_that_the_function_ran_neither_begins_nor_ends_the_wait(
    response: Response,
) -> None:
    watched = Watched()
    watched.of_function.answered(response, retry_in=None)
    assert watched.health == READY
    watched.of_function.postponed(THROTTLED, retry_in=2.0)
    watched.of_function.answered(response, retry_in=None)
    assert watched.health.state == "waiting"


def test_a_troubled_source_is_shown_first_and_the_reason_names_both() -> None:
    watched = Watched()
    watched.of_function.postponed(REFUSED, retry_in=2.0)
    both = watched.of_function.together_with(Health("troubled", "the queue is gone", 50.0, 3, 60.0))
    reason = "the queue is gone; function f cannot be invoked: cannot start node: not found on PATH"
    assert both == Health("troubled", reason, 50.0, 3, 60.0)


def test_the_wait_is_logged_once_when_it_begins_and_once_when_it_ends() -> None:
    watched = Watched()
    for _ in range(3):
        watched.of_function.postponed(THROTTLED, retry_in=2.0)
    watched.clock.time = 130.0
    for _ in range(3):
        watched.of_function.answered(Answered(b""), retry_in=None)
    reason = "function f is throttled: ReservedFunctionConcurrentInvocationLimitExceeded"
    assert watched.facts == [MappingWaiting(M, F, reason), MappingWaitEnded(M, F, 30.0)]


def test_a_long_message_of_a_function_is_shortened() -> None:
    watched = Watched()
    watched.of_function.answered(
        FunctionError(error_type="Runtime.ImportModuleError", message="x" * 4096), retry_in=None
    )
    assert len(watched.health.reason or "") == REASON_LIMIT_IN_CHARACTERS
