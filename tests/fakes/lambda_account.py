"""Which account does `poller import` read in tests? One behind a server of its own: functions, mappings and queues.

    with lambda_account() as account:
        account.client("lambda").create_event_source_mapping(...)      # AWS's own client checks and sends the request
        ... account.url, account.asked ...

The account keeps every option of a mapping, and lists it with AWS's defaults. The emulators that we know do not: they
leave out the time of AT_TIMESTAMP. A list has at most ten mappings a page.

    answers      the answers of an address are replaced by a text of any shape
    throttles    the number of requests of an address that are refused first
    silent       an address gives no answer before the account is closed

Source: AWS Lambda API Reference, "ListEventSourceMappings" and "CreateEventSourceMapping".
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import botocore.session

REGION = "eu-west-1"
ACCOUNT = "123456789012"
PAGE = 10

QUEUE_DEFAULTS = {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": []}
STREAM_DEFAULTS = {
    "BatchSize": 100,
    "MaximumBatchingWindowInSeconds": 0,
    "ParallelizationFactor": 1,
    "MaximumRecordAgeInSeconds": -1,
    "MaximumRetryAttempts": -1,
    "BisectBatchOnFunctionError": False,
    "TumblingWindowInSeconds": 0,
    "DestinationConfig": {"OnFailure": {}},
    "FunctionResponseTypes": [],
}


class LambdaAccount:
    """The account and its server. `asked` has the address of each request, in order.

    The address is the last part of the path, or its kind if that part is an ARN or a UUID. SQS has the address "".
    """

    def __init__(self) -> None:
        self.url = ""
        self.mappings: list[dict[str, Any]] = []
        self.functions: dict[str, dict[str, Any]] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.concurrency: dict[str, int] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.answers: dict[str, str] = {}
        self.throttles: Counter[str] = Counter()
        self.silent: set[str] = set()
        self.asked: list[str] = []
        self.closed = Event()

    def client(self, service: str) -> Any:
        """Return AWS's own client of the service."""
        session = botocore.session.get_session()
        return session.create_client(
            service,
            region_name=REGION,
            endpoint_url=self.url,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="secret",
        )

    def create_function(self, name: str, **configuration: Any) -> str:
        """Create a function with the members of GetFunctionConfiguration, and return its ARN."""
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"
        self.functions[name] = {"FunctionName": name, "FunctionArn": arn, "Timeout": 3, **configuration}
        return arn

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, str]:
        """Return the status and the text of the answer to a request."""
        address = unquote(path).rstrip("/").rpartition("/")[2]
        kind = "event-source-mapping" if "/event-source-mappings/" in path else "tags" if "/tags/" in path else address
        self.asked.append(kind)
        if kind in self.silent:
            self.closed.wait()
        if self.throttles[kind] > 0:
            self.throttles[kind] -= 1
            return 429, json.dumps({"message": "Rate exceeded", "Type": "User", "__type": "TooManyRequestsException"})
        if kind in self.answers:
            return 200, self.answers[kind]
        found = self._found(method, unquote(path), kind, query, json.loads(body) if body[:1] == b"{" else {})
        if found is None:
            return 404, '{"__type": "ResourceNotFoundException", "message": "not found"}'
        return 200, json.dumps(found)

    def _found(
        self, method: str, path: str, kind: str, query: dict[str, list[str]], body: dict[str, Any]
    ) -> dict[str, Any] | None:
        name = path.split("/")[3].rpartition(":function:")[2].partition(":")[0] if "/functions/" in path else ""
        match method, kind:
            case "POST", "event-source-mappings":
                return self._create(body)
            case "GET", "event-source-mappings":
                return self._list(query)
            case "GET", "event-source-mapping":
                return next(one for one in self.mappings if path.endswith(one["UUID"]))
            case "GET", "tags":
                return {"Tags": self.tags.get(path.rpartition("/tags/")[2], {})}
            case "GET", "configuration":
                return self.functions.get(name)
            case "PUT", "event-invoke-config":
                self.events[name] = body
                return body
            case "GET", "event-invoke-config":
                return self.events.get(name)
            case "GET", "concurrency":
                reserved = self.concurrency.get(name)
                return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}
            case "POST", "":
                return {"Attributes": {"VisibilityTimeout": "30"}}
        raise AssertionError(f"{method} {path}")

    def _create(self, request: dict[str, Any]) -> dict[str, Any]:
        request = dict(request)
        name, tags, enabled = request.pop("FunctionName"), request.pop("Tags", {}), request.pop("Enabled", True)
        number = str(uuid.uuid4())
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:event-source-mapping:{number}"
        mapping = {
            "UUID": number,
            "EventSourceMappingArn": arn,
            "FunctionArn": self.functions[name.rpartition(":")[2]]["FunctionArn"],
            "LastModified": 1_700_000_000.0,
            "State": "Enabled" if enabled else "Disabled",
            "StateTransitionReason": "USER_INITIATED",
            **(QUEUE_DEFAULTS if ":sqs:" in request["EventSourceArn"] else STREAM_DEFAULTS),
            **request,
        }
        self.tags[arn] = tags
        self.mappings.append(mapping)
        return mapping

    def _list(self, query: dict[str, list[str]]) -> dict[str, Any]:
        [wanted] = query.get("FunctionName", [""])
        [first] = query.get("Marker", ["0"])
        listed = [_listed(one) for one in self.mappings if one["FunctionArn"].endswith(wanted)]
        page = listed[int(first) : int(first) + PAGE]
        later = int(first) + PAGE
        return {"EventSourceMappings": page} | ({"NextMarker": str(later)} if later < len(listed) else {})


def _listed(mapping: dict[str, Any]) -> dict[str, Any]:
    """Return the mapping as a list shows it: without filters that are encrypted with a key of the account's own."""
    return {name: value for name, value in mapping.items() if name != "FilterCriteria" or "KMSKeyArn" not in mapping}


@contextmanager
def lambda_account() -> Iterator[LambdaAccount]:
    account = LambdaAccount()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, answer = account.answer(self.command, parts.path, parse_qs(parts.query), body)
            with suppress(ConnectionError):  # the client of a silent address goes away
                self.send_response(status)
                self.send_header("content-length", str(len(answer.encode())))
                self.end_headers()
                self.wfile.write(answer.encode())

        def do_POST(self) -> None:
            self.do_GET()

        def do_PUT(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        account.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield account
        finally:
            account.closed.set()
            server.shutdown()
            thread.join()
