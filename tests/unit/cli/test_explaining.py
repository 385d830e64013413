"""What do `poller explain` and `poller try` say about a record?"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from poller.cli.first_event import event_of
from tests.unit.cli.conftest import Poller, members

QUEUE = "arn:aws:sqs:eu-west-1:123456789012:orders"
STREAM = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"
TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/users/stream/2026-01-31T12:00:00.000"
FILTER = (
    """filter_criteria.filters = [{ pattern = { body = { kind = ["signup"], age = [{ numeric = [">=", 18] }] } } }]"""
)


def settings(url: str = "http://127.0.0.1:1", *, queue_options: str = FILTER, stream_options: str = "") -> None:
    Path("poller.toml").write_text(f"""
[daemon]
state = "memory:"
[functions.f]
url = "{url}"
[mappings.q]
event_source_arn = "{QUEUE}"
function_name = "f"
{queue_options}
[mappings.k]
event_source_arn = "{STREAM}"
function_name = "f"
starting_position = "LATEST"
{stream_options}
[mappings.t]
event_source_arn = "{TABLE}"
function_name = "f"
starting_position = "LATEST"
""")


def explained(poller: Poller, mapping: str, content: object, *options: str) -> Any:
    text = content if isinstance(content, str) else json.dumps(content)
    Path("record").write_text(text)
    done = poller("explain", mapping, "--record", "record", "--json", *options)
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)


MESSAGE = {
    "MessageId": "1",
    "ReceiptHandle": "r",
    "Body": '{"kind":"signup","age":20}',
    "Attributes": {"SentTimestamp": "1"},
}


@pytest.mark.parametrize("content", [MESSAGE, {"Messages": [MESSAGE]}], ids=["a message", "an answer of the CLI"])
def test_a_received_message_becomes_the_record_of_the_function(poller: Poller, content: object) -> None:
    settings()
    found = explained(poller, "q", content)
    [record] = found["event"]["Records"]
    assert (record["messageId"], record["body"], record["eventSourceARN"]) == ("1", MESSAGE["Body"], QUEUE)
    assert record["attributes"] == {"SentTimestamp": "1"}
    assert found["event_bytes"] == len(json.dumps(found["event"], separators=(",", ":")))


def test_any_other_text_is_the_body_of_a_message_without_the_last_line_break(poller: Poller) -> None:
    settings(queue_options="")
    for text in ("plain", '{"kind": 1}', '{"Records": 5}', "[1]"):
        assert explained(poller, "q", f"{text}\n")["event"]["Records"][0]["body"] == text


def test_a_notification_of_s3_is_the_body_of_a_message(poller: Poller) -> None:
    notification = {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "users.csv"}}}]}
    settings(queue_options="")
    (record,) = explained(poller, "q", notification)["event"]["Records"]
    assert json.loads(record["body"]) == notification


def test_a_number_that_is_too_large_for_a_float_is_still_printed_as_json(poller: Poller) -> None:
    settings()
    Path("record").write_text('{"kind":"signup","age":-1e400}')
    done = poller("explain", "q", "--record", "record", "--json")
    [record] = json.loads(done.stdout, parse_constant=pytest.fail)["records"]
    leaves = {leaf["path"]: leaf["found"] for leaf in record["filters"][0]["choices"][0]["leaves"]}
    assert leaves == {"body.kind": ["signup"], "body.age": ["-Infinity"]}


def test_the_records_of_an_event_stay_as_they_are(poller: Poller) -> None:
    settings(queue_options="")
    first = {"messageId": "1", "body": "a", "eventSource": "aws:sqs"}
    records = [first, first | {"messageId": "2", "unknown": 1}]
    assert explained(poller, "q", {"Records": records})["event"] == {"Records": records}


@pytest.mark.parametrize("arrived_at", [1_700_000_000.5, "2023-11-14T22:13:20.500000+00:00"])
def test_a_kinesis_record_of_either_version_of_the_cli_is_understood(poller: Poller, arrived_at: object) -> None:
    settings()
    data = base64.b64encode(b"click").decode()
    wire = {"SequenceNumber": "49", "PartitionKey": "p", "Data": data, "ApproximateArrivalTimestamp": arrived_at}
    [record] = explained(poller, "k", {"Records": [wire], "NextShardIterator": "x"})["event"]["Records"]
    assert record["kinesis"]["approximateArrivalTimestamp"] == 1_700_000_000.5
    assert (record["kinesis"]["sequenceNumber"], record["kinesis"]["data"]) == ("49", data)


def test_any_other_text_is_the_data_of_a_kinesis_record(poller: Poller) -> None:
    settings()
    [record] = explained(poller, "k", "café\n")["event"]["Records"]
    assert base64.b64decode(record["kinesis"]["data"]).decode() == "café"


def test_a_record_of_a_table_is_understood(poller: Poller) -> None:
    settings()
    wire = {"eventID": "1", "eventName": "INSERT", "dynamodb": {"Keys": {"id": {"S": "a"}}, "SequenceNumber": "7"}}
    [record] = explained(poller, "t", wire)["event"]["Records"]
    assert (record["eventName"], record["eventSourceARN"]) == ("INSERT", TABLE)


@pytest.mark.parametrize(
    ("mapping", "content", "why"),
    [
        ("t", "text", "it is not a record of a DynamoDB stream: an object with eventName and dynamodb"),
        ("t", {"dynamodb": {}}, "a record has no 'eventName'"),
        ("t", {"dynamodb": 5}, "a record has a value of the wrong type"),
        ("q", {"eventSource": "aws:kinesis", "kinesis": {}}, "has body, and eventSource aws:sqs, not aws:kinesis"),
        ("k", {"eventSource": "aws:sqs", "body": "x"}, "has kinesis, and eventSource aws:kinesis, not aws:sqs"),
        ("k", {"Data": "eA==", "ApproximateArrivalTimestamp": "soon"}, "a record has a value of the wrong type"),
        ("q", {"Body": 5}, "a record has a value of the wrong type"),
        ("q", {"eventSource": "aws:sqs", "body": 5}, "a record has body of the wrong type"),
        ("q", {"dynamodb": {}}, "a record has no 'body'"),
        ("k", {"kinesis": None}, "a record has kinesis of the wrong type"),
        ("t", {"eventSourceARN": TABLE, "dynamodb": []}, "a record has dynamodb of the wrong type"),
        ("q", "\n", "it is empty, and SQS has no empty messages"),
        ("q", {"Messages": []}, "its list of records is empty"),
        ("k", {"Records": [], "MillisBehindLatest": 0}, "its list of records is empty"),
    ],
)
def test_a_record_of_another_source_is_refused_with_the_reason(
    poller: Poller, mapping: str, content: object, why: str
) -> None:
    settings()
    Path("record").write_text(content if isinstance(content, str) else json.dumps(content))
    done = poller("explain", mapping, "--record", "record")
    assert (done.exit_code, done.stdout) == (2, "")
    assert why in done.stderr


def test_a_mapping_that_does_not_exist_and_an_unreadable_file_are_refused(poller: Poller) -> None:
    settings()
    done = poller("explain", "orders", "--record", "record")
    assert (done.exit_code, done.stderr) == (2, "poller: poller.toml has no mapping orders; the names are q, k, t\n")
    done = poller("explain", "q", "--record", "record")
    assert (done.exit_code, done.stderr) == (2, "poller: record: No such file or directory\n")
    Path("record").write_bytes(b"a\xff")
    done = poller("explain", "q", "--record", "record")
    assert (done.exit_code, done.stderr) == (2, "poller: record: byte 2 is not UTF-8\n")


def test_the_lines_say_why_a_record_is_filtered_out(poller: Poller) -> None:
    settings()
    Path("record").write_text('{"kind":"order","age":17}')
    assert poller("explain", "q", "--record", "record").stdout.splitlines()[2:] == [
        "record 1 of 1",
        '  filter 1 does not match: {"body": {"kind": ["signup"], "age": [{"numeric": [">=", 18]}]}}',
        '    no  body.kind: ["signup"]; the record has "order"',
        '    no  body.age: [{"numeric": [">=", 18]}]; the record has 17',
        "  The record matches no filter: it is deleted from the queue, and the function is not invoked with it.",
    ]


def test_the_lines_say_why_a_record_matches_though_one_of_its_elements_has_an_unwanted_key(poller: Poller) -> None:
    pattern = '{"body": {"l": {"a": [1], "b": [{"exists": false}]}}}'
    settings(queue_options=f"filter_criteria.filters = [{{ pattern = '{pattern}' }}]")
    Path("record").write_text('{"l":[{"a":1},{"b":1}]}')
    printed = poller("explain", "q", "--record", "record").stdout
    assert "An element of the array has the other values and lacks the keys that must not exist." in printed
    assert "The function gets 1 record" in printed


def test_the_lines_say_the_size_of_the_event_and_when_it_is_divided(poller: Poller) -> None:
    settings(queue_options="batch_size = 1\n")
    Path("record").write_text(json.dumps({"Messages": [MESSAGE, MESSAGE]}))
    printed = poller("explain", "q", "--record", "record").stdout
    size = len(event_of(json.loads(printed[printed.index("{") :])["Records"]))
    assert f"The function gets 2 records in an event of {size} bytes." in printed
    assert "The mapping's batch_size is 1, so the records are divided into several events." in printed
    Path("record").write_text("x" * 6_300_000)
    printed = poller("explain", "q", "--record", "record").stdout
    assert "and a record is larger. It is sent in an event of\nits own. Lambda refuses this event" in printed
    assert "divided" not in printed
    settings(queue_options="")
    Path("record").write_text(json.dumps({"Messages": [MESSAGE | {"Body": "x" * 4_000_000}] * 2}))
    printed = poller("explain", "q", "--record", "record").stdout
    assert "An event has at most 6,291,455 bytes, so the records are divided into several events." in printed


@pytest.mark.parametrize(("mapping", "data_key"), [("q", "body"), ("k", "data")])
@pytest.mark.parametrize("text", ["plain", "123", '{"kind":'])
def test_the_lines_say_that_the_data_are_not_json(poller: Poller, mapping: str, data_key: str, text: str) -> None:
    filters = f'filter_criteria.filters = [{{ pattern = {{ {data_key} = {{ kind = ["signup"] }} }} }}]'
    settings(queue_options=filters, stream_options=filters)
    Path("record").write_text(text)
    printed = poller("explain", mapping, "--record", "record").stdout
    assert f'no  {data_key}.kind: ["signup"]; the {data_key} is not a JSON object or array\n' in printed
    Path("record").write_text("{}")
    printed = poller("explain", mapping, "--record", "record").stdout
    assert f'no  {data_key}.kind: ["signup"]; the record has no such key\n' in printed


def test_a_pattern_for_a_plain_body_compares_the_body_itself(poller: Poller) -> None:
    settings(queue_options='filter_criteria.filters = [{ pattern = { body = ["plain"] } }]')
    Path("record").write_text("other")
    printed = poller("explain", "q", "--record", "record").stdout
    assert 'no  body: ["plain"]; the record has "other"' in printed


def test_a_record_of_an_event_needs_no_event_source(poller: Poller) -> None:
    settings(queue_options="")
    records = [{"messageId": "1", "body": "x"}, {"messageId": "2", "body": "y"}]
    assert explained(poller, "q", {"Records": records})["event"] == {"Records": records}
    assert explained(poller, "q", records[0])["event"] == {"Records": records[:1]}


WINDOWED = "tumbling_window_in_seconds = 60\n"


def clicks(*times: float, event_id: str = "shardId-000000000007:1") -> dict[str, Any]:
    """Return an event of Kinesis with a record for each time of arrival."""
    return {
        "Records": [
            {
                "kinesis": {"sequenceNumber": str(number), "data": "", "approximateArrivalTimestamp": time},
                "eventSource": "aws:kinesis",
                "eventID": event_id,
            }
            for number, time in enumerate(times, start=1)
        ]
    }


def test_the_event_of_a_mapping_with_tumbling_windows_has_the_window_and_its_first_state(poller: Poller) -> None:
    settings(stream_options=WINDOWED)
    given = clicks(1_700_000_041.0, 1_700_000_099.5, 1_700_000_100.0)
    found = explained(poller, "k", given)
    assert found["event"] == {
        "Records": given["Records"][:2],
        "shardId": "shardId-000000000007",
        "eventSourceARN": STREAM,
        "window": {"start": "2023-11-14T22:14:00Z", "end": "2023-11-14T22:15:00Z"},
        "state": {},
        "isFinalInvokeForWindow": False,
        "isWindowTerminatedEarly": False,
    }
    assert found["event_bytes"] == len(json.dumps(found["event"], separators=(",", ":")))
    printed = poller("explain", "k", "--record", "record").stdout
    assert f"The function gets 2 records in an event of {found['event_bytes']} bytes." in printed
    assert "Later tumbling windows get 1 record, in events that are not shown." in printed


def test_an_event_with_a_state_has_less_room_for_records(poller: Poller) -> None:
    """The engine leaves room for the largest state, so it divides records that would fit with the first state."""
    settings(stream_options=WINDOWED)
    given = clicks(1.0, 2.0)
    for record in given["Records"]:
        record["kinesis"]["data"] = "x" * 2_700_000
    Path("record").write_text(json.dumps(given))
    printed = poller("explain", "k", "--record", "record").stdout
    assert "An event has at most 5,242,881 bytes, so the records are divided into several events." in printed


@pytest.mark.parametrize("time", [1_700_000_041_000, "2023-11-14T22:14:01Z", None])
def test_a_record_without_a_usable_time_is_in_the_first_window_of_all(poller: Poller, time: Any) -> None:
    settings(stream_options=WINDOWED)
    assert explained(poller, "k", clicks(time))["event"]["window"]["start"] == "1970-01-01T00:00:00Z"


def test_the_shard_of_a_read_record_is_unknown(poller: Poller) -> None:
    settings(stream_options=WINDOWED)
    assert explained(poller, "k", clicks(1.0, event_id="1"))["event"]["shardId"] == "shardId-000000000000"


@pytest.mark.parametrize(("answer", "succeeds"), [(b'{"state":{"sum":1}}', True), (b"null", False), (b"{}", False)])
def test_a_tried_function_gets_the_window_and_must_answer_with_a_state(
    poller: Poller, answer: bytes, succeeds: bool
) -> None:
    with function(answer) as (url, events):
        settings(url, stream_options=WINDOWED)
        Path("record").write_text(json.dumps(clicks(1_700_000_041.0, 1_700_000_100.0)))
        done = poller("try", "k", "--record", "record")
    [event] = events
    assert (len(event["Records"]), event["state"], event["isFinalInvokeForWindow"]) == (1, {}, False)
    assert "left out: 1 record of later tumbling windows" in done.stderr
    assert done.exit_code == (0 if succeeds else 1)
    assert ("failed: InvalidResponse: the response has no state" in done.stdout) is not succeeds


@pytest.mark.parametrize(
    ("longest", "words"), [(20, "about 1 s; each later wait is longer, up to 20 s\n"), (1, "about 1 s\n")]
)
def test_a_try_says_how_long_a_failed_message_waits(poller: Poller, longest: int, words: str) -> None:
    backoff = f"redelivery_backoff = {{ initial_in_seconds = 1, maximum_in_seconds = {longest} }}"
    with function(b"{}", 500) as (url, _):
        settings(url, queue_options=backoff)
        Path("record").write_text("a body")
        done = poller("try", "q", "--record", "record")
    assert f"SQS delivers a failed message again after {words}" in done.stdout


@contextmanager
def function(answer: bytes, status: int = 200) -> Iterator[tuple[str, list[Any]]]:
    """Run a function at a url that always gives this answer. Yields the url and the events that the function gets."""
    events: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            events.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(status)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", events
        finally:
            server.shutdown()
            thread.join()


REPORTS = 'function_response_types = ["ReportBatchItemFailures"]\n'


@pytest.mark.parametrize(
    ("mapping", "answer", "status", "code", "lines"),
    [
        ("q", b"null", 200, 0, ["succeeded: 2 records would be done"]),
        (
            "q",
            b'{"batchItemFailures":[{"itemIdentifier":"2"}]}',
            200,
            1,
            [
                "partly failed: these would be tried again, 1 of 2 records:",
                "2",
                "SQS delivers a failed message again when the queue's visibility timeout is over",
            ],
        ),
        (
            "k",
            b'{"batchItemFailures":[{"itemIdentifier":"1"}]}',
            200,
            1,
            [
                "partly failed: these would be tried again, 2 of 2 records:",
                "1",
                "2",
                "the shard is blocked while the batch is tried again, up to 3 more times, in two halves each time",
            ],
        ),
        (
            "q",
            b"[1]",
            200,
            1,
            [
                "failed: InvalidResponse: the response is a list, not an object",
                "the whole batch would be tried again: 2 records",
                "SQS delivers a failed message again when the queue's visibility timeout is over",
            ],
        ),
    ],
)
def test_a_tried_record_is_sent_once_and_the_meaning_of_the_answer_is_said(
    poller: Poller, mapping: str, answer: bytes, status: int, code: int, lines: list[str]
) -> None:
    with function(answer, status) as (url, events):
        stream_options = f"{REPORTS}maximum_retry_attempts = 3\nbisect_batch_on_function_error = true\n"
        settings(url, queue_options=REPORTS, stream_options=stream_options)
        records: list[dict[str, Any]] = [{"messageId": "1", "body": "a"}, {"messageId": "2", "body": "b"}]
        if mapping == "k":
            records = [{"kinesis": {"sequenceNumber": number, "data": ""}} for number in ("1", "2")]
        for record in records:
            record["eventSource"] = "aws:sqs" if mapping == "q" else "aws:kinesis"
        Path("record").write_text(json.dumps({"Records": records}))
        done = poller("try", mapping, "--record", "record")
    assert done.exit_code == code, done.stderr
    assert done.stdout.splitlines() == [answer.decode(), *lines]
    assert done.stderr == ""
    assert events == [{"Records": records}], "it is sent once"


def test_half_a_surrogate_pair_is_shown_as_its_escape(poller: Poller) -> None:
    settings("http://127.0.0.1:1")
    Path("record").write_text('{"kind": "\\ud800 é"}')
    assert 'the record has "\\ud800 é"' in poller("explain", "q", "--record", "record").stdout
    document = json.loads(poller("explain", "q", "--record", "record", "--json").stdout)
    assert document["records"][0]["filters"][0]["choices"][0]["leaves"][0]["found"] == ["\ud800 é"]


def test_a_failed_function_is_not_called_again(poller: Poller) -> None:
    with function(b'{"errorType":"KeyError","errorMessage":"id"}', 500) as (url, events):
        settings(url, queue_options="")
        Path("record").write_text("a body")
        done = poller("try", "q", "--record", "record")
    assert done.exit_code == 1
    assert "the whole batch would be tried again: 1 record" in done.stdout
    assert done.stderr == "", "the answer says all, so nothing is logged"
    assert len(events) == 1


@pytest.mark.parametrize(
    ("mapping", "answer", "status", "outcome", "failed"),
    [
        ("q", b'{"batchItemFailures":[]}', 200, "succeeded", []),
        ("q", b'{"batchItemFailures":[{"itemIdentifier":"2"}]}', 200, "partly_failed", ["2"]),
        ("k", b'{"batchItemFailures":[{"itemIdentifier":"1"}]}', 200, "partly_failed", ["1", "2"]),
        ("q", b'{"errorType":"KeyError"}', 500, "failed", ["1", "2"]),
        ("q", b"no JSON", 500, "failed", ["1", "2"]),
    ],
)
def test_a_program_gets_the_outcome_of_a_try(
    poller: Poller, mapping: str, answer: bytes, status: int, outcome: str, failed: list[str]
) -> None:
    with function(answer, status) as (url, _):
        settings(url, queue_options=REPORTS, stream_options=REPORTS)
        records: list[dict[str, Any]] = [
            {"eventSource": "aws:sqs", "messageId": number, "body": ""}
            if mapping == "q"
            else {"eventSource": "aws:kinesis", "kinesis": {"sequenceNumber": number, "data": ""}}
            for number in ("1", "2")
        ]
        Path("record").write_text(json.dumps({"Records": records}))
        done = poller("try", mapping, "--record", "record", "--json")
    document = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (0 if outcome == "succeeded" else 1, "")
    assert document.keys() == members("poller try")
    assert (document["outcome"], document["failed"], document["records"]) == (outcome, failed, ["1", "2"])


def test_a_record_that_is_filtered_out_is_not_sent(poller: Poller) -> None:
    with function(b"null") as (url, events):
        settings(url)
        Path("record").write_text('{"kind":"order"}')
        done = poller("try", "q", "--record", "record")
    assert (done.exit_code, events) == (1, [])
    assert done.stderr == "poller: the record matches no filter of the mapping; `poller explain` says why\n"
