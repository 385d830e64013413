"""Which words of a function may a reader see who may not see its own words?"""

from __future__ import annotations

import pytest

from poller.admin.own_words import shown_error, shown_reason
from poller.admin.readiness import readiness
from poller.admin.status_report import status_report
from poller.model.status import BlockedShard, LastError, StreamStatus
from poller.model.stream import ShardId
from tests.unit.admin.test_page import LANES, NOW, SHARD, STREAM, view

OF_OTHERS = (
    "HTTP.502",
    "LostAnswer",
    "Sandbox.Timedout",
    "Runtime.ExitError",
    "batchItemFailures",
)


@pytest.mark.parametrize("name", OF_OTHERS)
def test_a_name_that_the_function_did_not_choose_is_shown_to_everybody(name: str) -> None:
    assert shown_error(name, sees_words=False) == name


@pytest.mark.parametrize("name", ["KeyError", "s3cret", "HTTP.502s", "Runtime.Secret", "destination: s3cret"])
def test_a_name_that_the_function_may_have_chosen_needs_the_token(name: str) -> None:
    assert shown_error(name, sees_words=True) == name
    assert shown_error(name, sees_words=False) == "FunctionError"
    assert shown_reason(name, is_function_error=True, sees_words=False) == "FunctionError"


def test_why_the_function_or_the_destination_did_not_get_a_batch_is_shown_to_everybody() -> None:
    for reason in ("TooManyRequestsException", "destination: AccessDenied"):
        assert shown_reason(reason, is_function_error=False, sees_words=False) == reason


def test_programs_without_the_token_get_no_error_type_of_a_function() -> None:
    shard = BlockedShard(ShardId("s"), "s3cret", NOW, is_function_error=True)
    lane = LANES[0]._replace(reason="s3cret", is_function_error=True)
    stream = StreamStatus(shards_blocked=1, blocked=(shard,), shards=(SHARD._replace(lanes=(lane, LANES[1])),))
    status = STREAM._replace(stream=stream, last_error=LastError(NOW, "s3cret"))
    assert "s3cret" not in str(readiness([status], sees_words=False))
    seen = view(status)
    assert str(status_report(seen)).count("s3cret") == 3
    hidden = view(status, viewer=seen.viewer._replace(sees_words=False))
    assert "s3cret" not in str(status_report(hidden))
    assert str(status_report(hidden)).count("FunctionError") == 3
