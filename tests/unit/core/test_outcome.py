"""What does a function's answer mean? The table of AWS, one row for each case."""

from __future__ import annotations

import orjson
import pytest

from poller.core.outcome import cannot_start, from_the_first, interpret, unheeded_failures
from poller.model.invocation import Answered, FunctionError, LostAnswer, Response, Throttled, TooLarge, Unreachable
from poller.model.outcome import Failed, Oversized, PartlyFailed, Postponed, Succeeded

BATCH = {"a", "b", "c"}
EVENT = b'{"Records":[{"messageId":"a","body":"{\\"order\\":\\"hot-drink\\"}"}]}'

SUCCEEDED = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b'""',
    b'{"batchItemFailures":[]}',
    b'{"batchItemFailures": [] }',
    b'{"batchItemFailures":null}',
    b'{"statusCode":200}',
    b" null ",
    rb'{"batchItemFailures":[],"cut":"\ud83d"}',
    b'{"batchItemFailures":[],"large":1e400}',
]

FAILED = [
    b"not json",
    b'"ok"',
    b"42",
    b"0",
    b"true",
    b"false",
    b"[1]",
    b'{"batchItemFailures":"a"}',
    b'{"batchItemFailures":{}}',
    b'{"batchItemFailures":0}',
    b'{"batchItemFailures":false}',
    b'{"batchItemFailures":[{}]}',
    b'{"batchItemFailures":["a"]}',
    b'{"batchItemFailures":[null]}',
    b'{"batchItemFailures":[{"foo":"a"}]}',
    b'{"batchItemFailures":[{"itemIdentifier":""}]}',
    b'{"batchItemFailures":[{"itemIdentifier":null}]}',
    b'{"batchItemFailures":[{"itemIdentifier":123}]}',
    b'{"batchItemFailures":[{"itemIdentifier":"unknown"}]}',
    rb'{"batchItemFailures":[{"itemIdentifier":"\ud83d"}]}',
    b'{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"unknown"}]}',
]


def with_item_failures(payload: bytes) -> object:
    return interpret(Answered(payload), identifiers=BATCH, reports_item_failures=True, event=EVENT)


@pytest.mark.parametrize("payload", SUCCEEDED)
def test_an_answer_without_failures_is_a_success(payload: bytes) -> None:
    assert with_item_failures(payload) == Succeeded()


@pytest.mark.parametrize("payload", FAILED)
def test_a_malformed_answer_fails_the_whole_batch(payload: bytes) -> None:
    outcome = with_item_failures(payload)
    assert isinstance(outcome, Failed)
    assert outcome.reason == "InvalidResponse"
    assert outcome.detail


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b"false", "the response is a boolean, not an object"),
        (b"1.5", "the response is a number, not an object"),
        (b'"ok"', "the response is a string, not an object"),
        (b"[1]", "the response is a list, not an object"),
        (b'{"batchItemFailures":{}}', "batchItemFailures is an object, not a list"),
    ],
)
def test_the_error_of_a_wrong_answer_names_its_json_type(payload: bytes, detail: str) -> None:
    assert with_item_failures(payload) == Failed("InvalidResponse", detail)


def strictly(payload: bytes) -> object:
    return interpret(Answered(payload), identifiers=BATCH, reports_item_failures=True, is_strict=True, event=EVENT)


@pytest.mark.parametrize("payload", [payload for payload in SUCCEEDED if b"statusCode" not in payload])
def test_an_empty_answer_is_a_success_under_strict_response_too(payload: bytes) -> None:
    assert strictly(payload) == Succeeded()


@pytest.mark.parametrize("payload", [b'{"statusCode":200}', b'{"BatchItemFailures":[]}', b'{"state":{"count":1}}'])
def test_an_object_without_item_failures_fails_the_batch_under_strict_response(payload: bytes) -> None:
    assert strictly(payload) == Failed(
        "InvalidResponse", "the response has no batchItemFailures, which strict_response requires"
    )


def test_named_items_fail_alone_under_strict_response_too() -> None:
    assert strictly(b'{"batchItemFailures":[{"itemIdentifier":"b"}],"note":1}') == PartlyFailed(frozenset({"b"}))


def test_named_items_fail_alone() -> None:
    payload = b'{"batchItemFailures":[{"itemIdentifier":"c"},{"itemIdentifier":"a"}]}'
    assert with_item_failures(payload) == PartlyFailed(frozenset({"a", "c"}))


def test_named_items_fail_alone_also_if_the_answer_has_half_of_a_surrogate_pair() -> None:
    payload = rb'{"batchItemFailures":[{"itemIdentifier":"b"}],"cut":"\ud83d"}'
    assert with_item_failures(payload) == PartlyFailed(frozenset({"b"}))


@pytest.mark.parametrize(
    ("identifier", "words"),
    [
        ("49590338271490256608559692538361571095921575989136588898", None),
        ("arn:aws:sqs:eu-west-1:123456789012:q", None),
        ("x" * 129, "an itemIdentifier names no record of the batch"),
        ("{'order': 'tea'}", "an itemIdentifier names no record of the batch"),
        ("hot-drink", "an itemIdentifier is a part of the event, but not the identifier of one of its records"),
        (
            '{"order":"hot-drink"}',
            "an itemIdentifier is a part of the event, but not the identifier of one of its records",
        ),
    ],
)
def test_an_unknown_identifier_is_shown_unless_it_may_be_content_of_a_record(
    identifier: str, words: str | None
) -> None:
    items = [{"itemIdentifier": "a"}, {"itemIdentifier": identifier}]
    outcome = with_item_failures(orjson.dumps({"batchItemFailures": items}))
    assert outcome == Failed(
        "InvalidResponse", words or f"the itemIdentifier {identifier} names no record of the batch"
    )


def test_an_item_named_twice_is_one_failure() -> None:
    payload = b'{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"a"}]}'
    assert with_item_failures(payload) == PartlyFailed(frozenset({"a"}))


@pytest.mark.parametrize("payload", [*SUCCEEDED, *FAILED])
def test_without_the_option_the_answer_is_not_looked_at(payload: bytes) -> None:
    assert interpret(Answered(payload), identifiers=BATCH, reports_item_failures=False, event=EVENT) == Succeeded()


@pytest.mark.parametrize("reports", [True, False])
def test_an_error_fails_the_batch_under_its_type(reports: bool) -> None:
    response = FunctionError(error_type="ValueError", message="no", payload=b'{"batchItemFailures":[]}')
    assert interpret(response, identifiers=BATCH, reports_item_failures=reports, event=EVENT) == Failed(
        "ValueError", "no"
    )


@pytest.mark.parametrize("reports", [True, False])
def test_an_empty_answer_that_may_have_lost_its_body_fails_a_batch_whose_body_would_name_the_failures(
    reports: bool,
) -> None:
    outcome = interpret(Answered(b"", is_whole=False), identifiers=BATCH, reports_item_failures=reports, event=EVENT)
    if reports:
        assert isinstance(outcome, Failed)
        assert (outcome.reason, outcome.may_still_run) == ("LostAnswer", True)
    else:
        assert outcome == Succeeded()


def test_a_lost_answer_counts_as_a_failure() -> None:
    outcome = interpret(LostAnswer(reason="timeout"), identifiers=BATCH, reports_item_failures=True, event=EVENT)
    assert outcome == Failed("LostAnswer", "timeout", may_still_run=True)


@pytest.mark.parametrize(
    ("error_type", "may_still_run"),
    [("HTTP.502", True), ("HTTP.504", True), ("HTTP.500", False), ("ValueError", False)],
)
def test_after_a_gateway_timeout_the_function_may_still_run(error_type: str, may_still_run: bool) -> None:
    outcome = interpret(
        FunctionError(error_type=error_type, message=""), identifiers=BATCH, reports_item_failures=False, event=EVENT
    )
    assert outcome == Failed(error_type, may_still_run=may_still_run)


@pytest.mark.parametrize(
    ("response", "postponed"),
    [
        (
            Throttled(reason="HTTP.503", retry_after=3.0, detail="it is full"),
            Postponed("HTTP.503", 3.0, True, "it is full"),
        ),
        (Unreachable(reason="HTTP.500", detail="it is gone"), Postponed("HTTP.500", None, False, "it is gone")),
    ],
)
def test_a_function_that_did_not_run_postpones_the_batch(response: Response, postponed: Postponed) -> None:
    assert interpret(response, identifiers=BATCH, reports_item_failures=True, event=EVENT) == postponed


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (FunctionError(error_type="Runtime.ImportModuleError", message="no module"), True),
        (FunctionError(error_type="ValueError", message="raised by the module itself", is_init_failure=True), True),
        (FunctionError(error_type="ValueError", message="raised by the handler"), False),
        (FunctionError(error_type="Runtime.ExitError", message="exited in the middle of a batch"), False),
        (Answered(b""), False),
    ],
)
def test_only_an_error_of_the_init_means_that_the_function_cannot_start(response: Response, expected: bool) -> None:
    assert cannot_start(response) is expected


def test_an_event_of_several_records_that_is_too_large_is_halved() -> None:
    response = TooLarge(error_type="HTTP.413", message="413 Content Too Large")
    assert interpret(response, identifiers=BATCH, reports_item_failures=False, event=EVENT) == Oversized("HTTP.413")
    assert interpret(response, identifiers=["a", "b"], reports_item_failures=True, event=EVENT) == Oversized("HTTP.413")


@pytest.mark.parametrize("identifiers", [["a"], []], ids=["a record", "the last invocation of a window"])
def test_an_event_that_is_too_large_and_cannot_be_split_is_a_failure(identifiers: list[str]) -> None:
    response = TooLarge(error_type="HTTP.413", message="413 Content Too Large")
    outcome = interpret(response, identifiers=identifiers, reports_item_failures=False, event=EVENT)
    assert outcome == Failed("HTTP.413", "413 Content Too Large")


NOT_ASKED_FOR = 'the mapping needs function_response_types = ["ReportBatchItemFailures"]'


@pytest.mark.parametrize(
    ("payload", "reports", "key", "advice"),
    [
        (b'{"batchItemFailures":[{"itemIdentifier":"a"}]}', False, "batchItemFailures", NOT_ASKED_FOR),
        (b'{ "ok": 1, "batchItemFailures" : [ "a" ] }', False, "batchItemFailures", NOT_ASKED_FOR),
        (
            b'{"BatchItemFailures":[{}]}',
            False,
            "BatchItemFailures",
            f"the key must be batchItemFailures and {NOT_ASKED_FOR}",
        ),
        (b'{"BatchItemFailures":[{}]}', True, "BatchItemFailures", "the key must be batchItemFailures"),
        (b'{"batch_item_failures":["a"]}', True, "batch_item_failures", "the key must be batchItemFailures"),
        (b'{"batchItemFailure":["a"]}', True, "batchItemFailure", "the key must be batchItemFailures"),
        (b'{"batchItemsFailures":["a"]}', True, "batchItemsFailures", "the key must be batchItemFailures"),
    ],
)
def test_reported_failures_without_effect_are_logged_with_advice(
    payload: bytes, reports: bool, key: str, advice: str
) -> None:
    assert interpret(Answered(payload), identifiers=BATCH, reports_item_failures=reports, event=EVENT) == Succeeded()
    expected = f"the answer names failed records in {key}, and they count as done: {advice}"
    assert unheeded_failures(Answered(payload), reports_item_failures=reports) == expected


@pytest.mark.parametrize("reports", [True, False])
@pytest.mark.parametrize(
    "response",
    [
        *[Answered(payload) for payload in SUCCEEDED],
        Answered(b'{"BatchItemFailures":[]}'),
        Answered(b'{"BatchItemFailures":[ ]}'),
        Answered(b'{"failures":["a"]}'),
        Answered(b'{"pad":"%b","BatchItemFailures":["a"]}' % (b"x" * 4_096)),
        FunctionError(error_type="E", message="", payload=b'{"batchItemFailures":["a"]}'),
    ],
)
def test_an_answer_that_names_no_failures_needs_no_advice(response: Response, reports: bool) -> None:
    assert unheeded_failures(response, reports_item_failures=reports) is None


def test_failures_that_have_an_effect_need_no_advice() -> None:
    payload = b'{"batchItemFailures":[{"itemIdentifier":"a"}]}'
    assert unheeded_failures(Answered(payload), reports_item_failures=True) is None


def test_in_an_ordered_source_records_after_the_first_failed_one_are_not_done() -> None:
    named = PartlyFailed(frozenset({"2", "4"}))
    assert from_the_first(named, ["1", "2", "3", "4", "5"]) == PartlyFailed(frozenset({"2", "3", "4", "5"}))
