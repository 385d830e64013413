"""An SQS queue and its function, which are fast enough to measure clients (`connection.py` has the requests).

    python -m tests.bench.servers.canned [--groups 100]        prints its port, lives until its input ends

It does no unnecessary work: a queue exists once a request names it, signatures and attribute names are ignored, and
answers are not kept.
If a queue is empty, a receive waits until a message comes or its wait is over. Later requests on the same connection
wait, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import orjson
import uvloop

from tests.bench.servers import connection
from tests.bench.servers.connection import Json, RefusedError, now
from tests.bench.servers.ledger import Ledger
from tests.bench.servers.messages import find, number_of, own_message
from tests.bench.servers.queues import VISIBILITY_TIMEOUT_IN_SECONDS, Poll, Queue


class Service(connection.Service):
    """The queues and the calls.

    A call returns the body of its answer, or None if it is answered later.
    """

    def __init__(self, *, groups: int) -> None:
        super().__init__(Ledger(groups=groups, find=find))
        self.queues: dict[str, Queue] = {}

    def queue(self, name: str) -> Queue:
        if name not in self.queues:
            self.queues[name] = Queue(name, self.ledger)
        return self.queues[name]

    def queue_at(self, request: Json) -> Queue:
        return self.queue(request["QueueUrl"].rsplit("/", 1)[1])

    def on_tick(self) -> None:
        for queue in self.queues.values():
            queue.tick(now())

    def send(self, name: str, count: int) -> None:
        self.began = now()
        self.queue(name).send_canned(count, now=self.began)

    def receive_message(self, request: Json, connection: Connection) -> bytes | None:
        queue = self.queue_at(request)
        poll = Poll(
            connection.hand_over,
            request.get("MaxNumberOfMessages") or 1,
            request.get("VisibilityTimeout") or VISIBILITY_TIMEOUT_IN_SECONDS,
        )
        if not queue.receive(poll, now=now()):
            connection.hold(queue, poll, request.get("WaitTimeSeconds") or 0)
        return None

    def delete_message(self, request: Json) -> bytes:
        self.queue_at(request).delete(number_of(request["ReceiptHandle"]))
        return b"{}"

    def delete_message_batch(self, request: Json) -> bytes:
        queue = self.queue_at(request)
        for entry in request["Entries"]:
            queue.delete(number_of(entry["ReceiptHandle"]))
        return _all_successful(request)

    def change_message_visibility_batch(self, request: Json) -> bytes:
        queue = self.queue_at(request)
        moment = now()
        for entry in request["Entries"]:
            queue.change_visibility(number_of(entry["ReceiptHandle"]), entry["VisibilityTimeout"], now=moment)
        return _all_successful(request)

    def change_message_visibility(self, request: Json) -> bytes:
        number = number_of(request["ReceiptHandle"])
        self.queue_at(request).change_visibility(number, request["VisibilityTimeout"], now=now())
        return b"{}"

    def send_message(self, request: Json) -> bytes:
        return orjson.dumps(_send(self.queue_at(request), request))

    def send_message_batch(self, request: Json) -> bytes:
        queue = self.queue_at(request)
        successful = [{"Id": entry["Id"]} | _send(queue, entry) for entry in request["Entries"]]
        return orjson.dumps({"Successful": successful, "Failed": []})

    def get_queue_attributes(self, request: Json) -> bytes:
        queue = self.queue_at(request)
        attributes = {
            "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{queue.name}",
            "VisibilityTimeout": str(VISIBILITY_TIMEOUT_IN_SECONDS),
            "MessageRetentionPeriod": "345600",
            "MaximumMessageSize": "1048576",
            "ApproximateNumberOfMessages": str(queue.waiting),
            "ApproximateNumberOfMessagesNotVisible": str(queue.in_flight),
            "ApproximateNumberOfMessagesDelayed": "0",
        } | ({"FifoQueue": "true"} if queue.is_fifo else {})
        return orjson.dumps({"Attributes": attributes})

    def get_queue_url(self, request: Json) -> bytes:
        return orjson.dumps({"QueueUrl": f"http://127.0.0.1/000000000000/{self.queue(request['QueueName']).name}"})


class Connection(connection.Connection):
    """A connection on which receives may wait."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self._held: tuple[Queue, Poll, asyncio.TimerHandle] | None = None
        self._calls: dict[str, Callable[[Json], bytes | None]] = {
            "ReceiveMessage": lambda request: service.receive_message(request, self),
            "DeleteMessage": service.delete_message,
            "DeleteMessageBatch": service.delete_message_batch,
            "ChangeMessageVisibility": service.change_message_visibility,
            "ChangeMessageVisibilityBatch": service.change_message_visibility_batch,
            "SendMessage": service.send_message,
            "SendMessageBatch": service.send_message_batch,
            "GetQueueAttributes": service.get_queue_attributes,
            "GetQueueUrl": service.get_queue_url,
        }

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()

    def call(self, name: str, body: bytes) -> bytes | None:
        if name not in self._calls:
            raise RefusedError(f"no such call: {name}")
        return self._calls[name](orjson.loads(body))

    def hold(self, queue: Queue, poll: Poll, seconds: float) -> None:
        """Keep the request until the queue has messages for it, or until the wait is over."""
        timer = asyncio.get_running_loop().call_later(seconds, self.hand_over, [])
        self._held = (queue, poll, timer)
        self.is_held = True

    def hand_over(self, messages: list[str]) -> None:
        """Answer a ReceiveMessage, at once or later."""
        was_held = self.is_held
        self._let_go()
        self.answer(('{"Messages":[' + ",".join(messages) + "]}").encode() if messages else b"{}")
        if was_held:
            self.advance()

    def _let_go(self) -> None:
        if self._held:
            queue, poll, timer = self._held
            timer.cancel()
            queue.give_up(poll)
            self._held = None
            self.is_held = False


def _send(queue: Queue, entry: Json) -> Json:
    body = entry["MessageBody"]
    attributes = orjson.dumps(entry.get("MessageAttributes", {})).decode()
    own = own_message(body, orjson.dumps(body).decode()[1:-1], attributes)
    number = queue.send_own(own, entry.get("MessageGroupId"), now=now())
    return {"MessageId": f"00000000-0000-4000-8000-{number:012d}", "MD5OfMessageBody": own.md5_of_body}


def _all_successful(request: Json) -> bytes:
    return orjson.dumps({"Successful": [{"Id": entry["Id"]} for entry in request["Entries"]], "Failed": []})


if __name__ == "__main__":
    parser = connection.options(__doc__)
    parser.add_argument("--groups", type=int, default=0, help="message groups of canned messages in FIFO queues")
    service = Service(groups=parser.parse_args().groups)
    uvloop.run(connection.serve(service, lambda: Connection(service)))
