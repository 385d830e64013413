"""Which facts are emitted about an invocation, and how does it change the mapping's health?"""

from __future__ import annotations

import pytest

from poller.core.outcome import interpret
from poller.facts import (
    BatchInvoked,
    BatchItemFailuresIgnored,
    EventTooLarge,
    Fact,
    InvocationPostponed,
    MappingWaitEnded,
    MappingWaiting,
)
from poller.functions.opened import Contents, Invoked
from poller.functions.telling import Invocations
from poller.model.ids import FunctionName, MappingName, RequestId
from poller.model.invocation import Answered, FunctionError, Invocation, LostAnswer, Response, TooLarge
from poller.model.outcome import Failed, PartlyFailed, Postponed
from poller.model.status import ERROR_DETAIL_CHARACTERS, Health, LastError

M, F, R = MappingName("m"), FunctionName("f"), RequestId("r")
NAMED = Answered(b'{"batchItemFailures":[{"itemIdentifier":"b"}]}')
ADVICE = (
    "the answer names failed records in batchItemFailures, and they count as done: "
    'the mapping needs function_response_types = ["ReportBatchItemFailures"]'
)


class Clock:
    def now(self) -> float:
        return 100.0


class Reports:
    """An invoked function, and the emitted facts in order."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []
        self.invocations = Invocations(mapping=M, function=F, clock=Clock(), emit=self.facts.append)

    def ended(self, response: Response, *, reports: bool = False, retry_in: float | None = None) -> list[Fact]:
        """End the second attempt of a batch of three records, which took 1.5 s; the oldest record is 9 s old."""
        identifiers = ["a", "b", "c"]
        contents = Contents(3, identifiers, reports, 9.0)
        outcome = interpret(response, identifiers=identifiers, reports_item_failures=reports, event=b"{}")
        self.invocations.ended(Invoked(Invocation(R, b"{}", M, 2), contents, response, outcome, 1.5), retry_in=retry_in)
        facts, self.facts[:] = list(self.facts), []
        return facts


@pytest.mark.parametrize(
    ("response", "fact"),
    [
        (Answered(b""), BatchInvoked(M, F, R, "succeeded", 3, 0, 2, 1.5, 9.0, "", "", "")),
        (NAMED, BatchInvoked(M, F, R, "partly_failed", 3, 1, 2, 1.5, 9.0, "batchItemFailures", "", "")),
        (
            FunctionError(error_type="KeyError", message="'email'", log_tail="END r"),
            BatchInvoked(M, F, R, "failed", 3, 3, 2, 1.5, 9.0, "KeyError", "'email'", "END r"),
        ),
        (
            LostAnswer(reason="reset"),
            BatchInvoked(M, F, R, "failed", 3, 3, 2, 1.5, 9.0, "LostAnswer", "reset", ""),
        ),
    ],
)
def test_an_invocation_that_the_function_may_have_run_is_reported_once(response: Response, fact: BatchInvoked) -> None:
    assert Reports().ended(response, reports=True) == [fact]


def test_an_answer_that_reports_failures_without_effect_is_reported_too() -> None:
    invoked, ignored = Reports().ended(NAMED)
    assert isinstance(invoked, BatchInvoked)
    assert ignored == BatchItemFailuresIgnored(M, F, ADVICE)


def test_an_event_that_is_too_large_is_reported_as_such_and_is_not_an_attempt_of_the_batch() -> None:
    assert Reports().ended(TooLarge(error_type="HTTP.413", message="413")) == [EventTooLarge(M, F, 3, 2, "HTTP.413")]


def test_an_outcome_that_was_changed_later_is_the_one_that_is_reported() -> None:
    reports = Reports()
    invoked = Invoked(Invocation(R, b"{}", M, 1), Contents(3), Answered(b""), PartlyFailed(frozenset({"b", "c"})), 0.0)
    reports.invocations.ended(invoked, retry_in=None)
    reports.invocations.ended(invoked._replace(outcome=Failed("InvalidResponse", "no state")), retry_in=1.0)
    first, second = reports.facts
    assert isinstance(first, BatchInvoked)
    assert isinstance(second, BatchInvoked)
    assert (first.failed, second.failed, second.reason) == (2, 3, "InvalidResponse")


def test_a_postponed_batch_is_reported_with_its_next_try_and_the_mapping_waits_until_the_function_runs() -> None:
    reports = Reports()
    outcome = Postponed("Throttled", None, True, "f: Rate Exceeded")
    invoked = Invoked(Invocation(R, b"{}", M, 2), Contents(3), Answered(b""), outcome, 0.1)
    reports.invocations.ended(invoked, retry_in=4.0)
    assert reports.facts == [
        MappingWaiting(M, F, "function f is throttled: f: Rate Exceeded"),
        InvocationPostponed(M, F, 3, 2, "Throttled", 4.0, True, "f: Rate Exceeded"),
    ]
    assert reports.invocations.health.together_with(Health("ready")).next_try == 104.0
    reports.facts.clear()
    resumed, ran = reports.ended(Answered(b""))
    assert isinstance(resumed, MappingWaitEnded)
    assert isinstance(ran, BatchInvoked)


def test_a_function_that_cannot_start_is_tried_again_at_the_given_time() -> None:
    reports = Reports()
    reports.ended(FunctionError(error_type="Runtime.ImportModuleError", message="no boto3"), retry_in=8.0)
    assert reports.invocations.health.together_with(Health("ready")).next_try == 108.0


def test_the_last_failure_is_kept_with_its_time_and_its_cut_message_also_after_a_success() -> None:
    reports = Reports()
    reports.ended(Answered(b""))
    assert reports.invocations.last_error is None
    reports.ended(NAMED, reports=True)
    assert reports.invocations.last_error == LastError(100.0, "batchItemFailures")
    reports.ended(FunctionError(error_type="KeyError", message="x" * 5000))
    reports.ended(Answered(b""))
    assert reports.invocations.last_error == LastError(100.0, "KeyError", "x" * ERROR_DETAIL_CHARACTERS)
