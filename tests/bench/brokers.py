"""Which queue gives a run its messages, and how many of them are done? One of two queues with the same interface.

    Canned    the queue of the canned server: fast enough to measure any client, and it sees every delete
    Real      fauxqs from npm: it delivers as a real queue does, and the canned server is the function

With both queues, the ledger of the canned server records what was invoked.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.bench.processes import CANNED, serving
from tests.bench.servers.ledger import epoch_microseconds
from tests.bench.servers.messages import BODY

ACCOUNT = "000000000000"
SENDS_AT_ONCE = 10

Json = dict[str, Any]


class Progress(NamedTuple):
    """How far a run is. `done` counts deleted messages, or invoked records if deletes do not exist or are not seen.

    `began` is the time at which the first record of the newest backlog could be received. `at` is the time of the last
    work after that. Both are in seconds.
    """

    done: int
    began: float
    at: float


class Report(NamedTuple):
    faults: dict[str, int]
    p50_in_seconds: float
    p99_in_seconds: float
    calls: dict[str, int]


class Source(Protocol):
    """The source of the records of one run, and the record of what the contender did with them."""

    def send(self, count: int) -> None:
        """Put a backlog of records into the source."""

    def pace(self, count: int, per_second: float) -> None:
        """Send records evenly over time. Latencies count from now on.

        This may return before the last record is sent.
        """

    def progress(self) -> Progress:
        """Return how far the run is."""

    def is_empty(self) -> bool:
        """Return whether no record waits and none is in flight."""

    def report(self) -> Report:
        """Return what went wrong in the whole run, and the latencies since the call of `pace`."""


class Broker(Source, Protocol):
    """The queue of one run, and the function's server."""

    queue_name: str
    sqs_endpoint: str
    function_endpoint: str


class Endpoint:
    """A JSON client for one server, on one connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: Json, headers: dict[str, str] | None = None) -> Json:
        self._connection.request("POST", path, json.dumps(body), headers or {})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {text.decode()}")
        parsed: Json = json.loads(text or b"{}")
        return parsed

    def close(self) -> None:
        self._connection.close()


class Canned:
    """A run in which the canned server is the queue and the function."""

    def __init__(self, port: int, queue_name: str) -> None:
        self.queue_name = queue_name
        self.sqs_endpoint = self.function_endpoint = f"http://127.0.0.1:{port}"
        self.endpoint = Endpoint(port)

    def send(self, count: int) -> None:
        self.endpoint.post("/bench/send", {"name": self.queue_name, "count": count})

    def pace(self, count: int, per_second: float) -> None:
        self.endpoint.post("/bench/mark", {})
        self.endpoint.post("/bench/pace", {"name": self.queue_name, "count": count, "per_second": per_second})

    def progress(self) -> Progress:
        state = self.endpoint.post("/bench/state", {})
        return Progress(state["deleted"], state["began"], state["now"])

    def is_empty(self) -> bool:
        state = self.endpoint.post("/bench/state", {})
        return bool(state["deleted"] == state["sent"])

    def report(self) -> Report:
        return ask_for_report(self.endpoint, is_deletion_seen=True)


class Real:
    """A run in which fauxqs is the queue and the canned server is the function."""

    def __init__(self, sqs_port: int, function_port: int, queue_name: str) -> None:
        self.queue_name = queue_name
        self.sqs_endpoint = f"http://127.0.0.1:{sqs_port}"
        self.function_endpoint = f"http://127.0.0.1:{function_port}"
        self.endpoint = Endpoint(function_port)
        self.sqs = Endpoint(sqs_port)
        self._sent = 0
        self._began = 0.0
        self._queue = {"QueueUrl": self._call("CreateQueue", {"QueueName": queue_name})["QueueUrl"]}

    def send(self, count: int) -> None:
        self.endpoint.post("/bench/expect", {"count": self._sent + count})
        for start in range(0, count, SENDS_AT_ONCE):
            self._send_batch(min(SENDS_AT_ONCE, count - start))
        self._began = self.progress().at

    def pace(self, count: int, per_second: float) -> None:
        self.endpoint.post("/bench/mark", {})
        self.endpoint.post("/bench/expect", {"count": self._sent + count})
        begun = time.monotonic()
        for start in range(0, count, SENDS_AT_ONCE):
            time.sleep(max(0.0, begun + start / per_second - time.monotonic()))
            self._send_batch(min(SENDS_AT_ONCE, count - start))

    def progress(self) -> Progress:
        state = self.endpoint.post("/bench/state", {})
        return Progress(state["invoked"], self._began, state["now"])

    def is_empty(self) -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self._call("GetQueueAttributes", self._queue | {"AttributeNames": names})
        return not any(int(value) for value in answer["Attributes"].values())

    def report(self) -> Report:
        return ask_for_report(self.endpoint, is_deletion_seen=False)

    def _send_batch(self, count: int) -> None:
        numbers = range(self._sent, self._sent + count)
        source = {"source": {"StringValue": "web", "DataType": "String"}}
        bodies = (BODY % (number, epoch_microseconds()) for number in numbers)
        entries = [{"Id": str(i), "MessageBody": body, "MessageAttributes": source} for i, body in enumerate(bodies)]
        self._sent += count
        self._call("SendMessageBatch", self._queue | {"Entries": entries})

    def _call(self, name: str, request: Json) -> Json:
        headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{name}"}
        return self.sqs.post("/", request, headers)


class CannedStream:
    """A run in which the canned server is the stream and the function. A record is done once it was invoked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.endpoint = Endpoint(port)

    def send(self, count: int) -> None:
        self.endpoint.post("/bench/send", {"name": "", "count": count})

    def pace(self, count: int, per_second: float) -> None:
        self.endpoint.post("/bench/mark", {})
        self.endpoint.post("/bench/pace", {"name": "", "count": count, "per_second": per_second})

    def progress(self) -> Progress:
        state = self.endpoint.post("/bench/state", {})
        return Progress(state["invoked"], state["began"], state["ended"])

    def slow_reads(self, seconds: float) -> None:
        """Let each read take this many seconds from now on."""
        self.endpoint.post("/bench/slow_reads", {"seconds": seconds})

    def is_empty(self) -> bool:
        return True

    def report(self) -> Report:
        return ask_for_report(self.endpoint, is_deletion_seen=False)


def ask_for_report(endpoint: Endpoint, *, is_deletion_seen: bool, shares: Sequence[float] = (0.5, 0.99)) -> Report:
    answer = endpoint.post("/bench/report", {"is_deletion_seen": is_deletion_seen, "shares": shares})
    p50, p99 = (microseconds / 1e6 for microseconds in answer["latency_in_microseconds"] or (0, 0))
    faults = {name: count for name, count in answer["faults"].items() if count}
    return Report(faults, p50, p99, answer["calls"])


@contextmanager
def canned(folder: Path, *, queue_name: str = "orders", groups: int = 0) -> Iterator[Canned]:
    command = [*CANNED, "--groups", str(groups)]
    with serving(command, folder=folder, name="canned") as port:
        broker = Canned(port, queue_name)
        try:
            yield broker
        finally:
            broker.endpoint.close()


@contextmanager
def real(folder: Path, fauxqs: Sequence[str], *, queue_name: str = "orders") -> Iterator[Real]:
    with (
        serving(CANNED, folder=folder, name="canned") as function_port,
        serving(fauxqs, folder=folder, name="fauxqs") as sqs_port,
    ):
        broker = Real(sqs_port, function_port, queue_name)
        try:
            yield broker
        finally:
            broker.endpoint.close()
            broker.sqs.close()


@contextmanager
def canned_stream(
    folder: Path, *, kind: str, shards: int, records_in_a_read: int, function_seconds: float = 0.0
) -> Iterator[CannedStream]:
    command = [sys.executable, "-m", "tests.bench.servers.canned_streams", "--kind", kind, "--shards", str(shards)]
    command += ["--records-in-a-read", str(records_in_a_read), "--function-seconds", str(function_seconds)]
    with serving(command, folder=folder, name="canned") as port:
        stream = CannedStream(port)
        try:
            yield stream
        finally:
            stream.endpoint.close()
