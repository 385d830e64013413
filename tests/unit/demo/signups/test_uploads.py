"""Is every upload found that ended otherwise than it should, and every event that the daemon lost count of?"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from poller.demo.signups.uploads import CountedEvents, UploadBook, records_of


def record(request_id: str, *, condition: str, attempts: int, answer: object) -> dict[str, Any]:
    context = {"requestId": request_id, "condition": condition, "approximateInvokeCount": attempts}
    return {"requestContext": context, "responsePayload": answer}


DONE = record("1", condition="Success", attempts=1, answer={"rows": 230})
BROKEN = record(
    "2", condition="RetriesExhausted", attempts=3, answer={"errorMessage": "broken.csv has no column email"}
)

GOOD = UploadBook(
    rows_by_event=230,
    rows_by_call=10,
    answered=10,
    done_records=[DONE],
    failed_records=[BROKEN],
    counted=CountedEvents(attempts=4, succeeded=1, failed=1),
)


def test_good_books_add_up() -> None:
    assert GOOD.discrepancies() == []
    assert (GOOD.done, GOOD.total, GOOD.rows_sent) == (3, 3, 240)


@pytest.mark.parametrize(
    ("doctored", "fault"),
    [
        ({"done_records": []}, "records of files that were processed: 0, should be 1"),
        (
            {"done_records": [DONE, BROKEN | {"responsePayload": {"rows": 1}}]},
            "rows that process_csv sent: 241, should be 240",
        ),
        ({"failed_records": []}, "records of files that failed: 0, should be 1"),
        ({"answered": None}, "rows of the file that the call named: 0, should be 10"),
        (
            {"counted": CountedEvents(attempts=5, succeeded=1, failed=1)},
            "attempts with events, by the daemon: 5, should be 4",
        ),
        (
            {"counted": CountedEvents(attempts=4, succeeded=0, failed=1)},
            "events that succeeded, by the daemon: 0, should be 1",
        ),
        (
            {"counted": CountedEvents(attempts=4, succeeded=1, failed=2)},
            "events that failed, by the daemon: 2, should be 1",
        ),
        (
            {"failed_records": [record("2", condition="RetriesExhausted", attempts=2, answer={})]},
            "attempts with the broken file: 2, should be 3",
        ),
        (
            {"failed_records": [record("2", condition="EventAgeExceeded", attempts=3, answer={})]},
            "the event of the broken file ended with EventAgeExceeded",
        ),
    ],
)
def test_a_number_that_does_not_add_up_is_found(doctored: dict[str, Any], fault: str) -> None:
    assert f"uploads: {fault}" in replace(GOOD, **doctored).discrepancies()


def test_a_record_that_came_twice_counts_once() -> None:
    assert records_of([json.dumps(DONE), json.dumps(BROKEN), json.dumps(DONE)]) == [DONE, BROKEN]
