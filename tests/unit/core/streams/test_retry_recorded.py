"""Does a delivery do what AWS did in every case of `stream_failures.txt`? The clock moves only by waits."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import orjson
import pytest

from poller.core.batching import MAXIMUM_EVENT_BYTES, BatchBuilder
from poller.core.invocation_record import DiscardedBatch, document_of
from poller.core.outcome import interpret
from poller.core.streams.retry import Delivery, Discard, Invoke, RetryPolicy, Wait
from poller.model.arn import Arn
from poller.model.ids import RequestId
from poller.model.invocation import Answered, FunctionError, LostAnswer, Response, Throttled
from poller.model.stream import SequenceNumber, ShardId

BEGINNING = 1_700_000_000.0


class Held(NamedTuple):
    sequence_number: SequenceNumber
    arrived_at: float
    encoded: bytes


@dataclass(frozen=True)
class Case:
    title: str
    lines: dict[str, str]

    def option(self, name: str) -> int | None:
        found = re.search(rf"\b{name} (\d+)", self.lines["options"])
        return int(found[1]) if found else None

    def has(self, name: str) -> bool:
        return name in self.lines["options"].split(", ")


def cases() -> list[Case]:
    text = Path(__file__).with_name("stream_failures.txt").read_text()
    blocks = [block.strip().splitlines() for block in text.split("\n\n")]
    return [
        Case(block[0], dict(re.split(r"\s{2,}", line, maxsplit=1) for line in block[1:]))
        for block in blocks
        if block and re.match(r"[SO]\d", block[0])
    ]


class AverageLuck(random.Random):
    def random(self) -> float:
        return 0.5


@dataclass
class Play:
    """One case that is carried out. `now` counts from its beginning."""

    case: Case
    now: float = 0.0
    invoked: list[tuple[float, str]] = field(default_factory=list)
    reported: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = (RequestId(f"id {number}") for number in itertools.count(1))
        self.new_request_id: Callable[[], RequestId] = lambda: next(ids)
        self.seen: dict[RequestId, str] = {}
        self.policy = RetryPolicy(
            maximum_retry_attempts=self.case.option("retries"),
            maximum_record_age_in_seconds=self.case.option("age"),
            bisects=self.case.has("bisect"),
        )

    def records(self) -> list[Held]:
        ages = dict(re.findall(r"(\d+): ([\d.]+) s before", self.case.lines.get("arrived", "")))
        too_large = self.case.lines.get("too large", "").split()
        return [
            Held(
                SequenceNumber(name),
                BEGINNING - float(ages.get(name, 0)),
                b"x" * (MAXIMUM_EVENT_BYTES if name in too_large else 100),
            )
            for name in self.case.lines["records"].split()
        ]

    def run(self) -> None:
        for batch in self.batches():
            self.deliver(batch)

    def batches(self) -> Iterator[list[Held]]:
        """Yield the batches.

        All records exist at the beginning; a batch that is not full waits for its window, or until its first record
        expires.
        """

        def builder() -> BatchBuilder:
            return BatchBuilder(
                batch_size=self.case.option("batch size") or 100, window_in_seconds=self.case.option("window") or 0
            )

        batch: list[Held] = []
        open_batch = builder()
        for record in self.records():
            if not open_batch.add(len(record.encoded), now=self.now):
                yield batch
                batch, open_batch = [], builder()
                open_batch.add(len(record.encoded), now=self.now)
            batch.append(record)
        if not open_batch.is_full:
            assert open_batch.deadline is not None
            expiry = self.policy.expires_at(batch[0].arrived_at)
            self.now = max(self.now, min(open_batch.deadline, expiry - BEGINNING if expiry else open_batch.deadline))
        yield batch

    def deliver(self, batch: list[Held]) -> None:
        delivery = Delivery(
            batch,
            policy=self.policy,
            new_request_id=self.new_request_id,
            randomness=AverageLuck(),
            now=BEGINNING + self.now,
        )
        while (step := delivery.step(BEGINNING + self.now)) is not None:
            if isinstance(step, Wait):
                self.now += step.seconds
            elif isinstance(step, Invoke):
                response = self.function(step)
                outcome = interpret(
                    response,
                    identifiers={one.sequence_number for one in step.records},
                    reports_item_failures=self.case.has("reports item failures"),
                    event=b"",
                )
                delivery.answered(outcome, response, now=BEGINNING + self.now)
            else:
                self.done += [one.sequence_number for one in step.records]
                if isinstance(step, Discard):
                    self.reported.append(in_words(self.invocation_record(step)))

    def function(self, step: Invoke[Held]) -> Response:
        names = [one.sequence_number for one in step.records]
        verb, _, rest = self.case.lines["function"].partition(" ")
        if verb == "throttled" and self.now < float(rest.split()[1]):
            return Throttled(reason="Throttled")
        label = self.seen.setdefault(step.request_id, f"#{len(self.seen) + 1}")
        self.invoked.append((self.now, f"{label} [{' '.join(names)}]"))
        if verb == "raises" and (rest == "always" or rest.removeprefix("at ") in names):
            return FunctionError(error_type="ValueError", message="no")
        if verb == "loses":
            return LostAnswer(reason="ConnectionReset")
        if verb == "reports":
            failures = [{"itemIdentifier": name} for name in rest.split() if name in names]
            return Answered(orjson.dumps({"batchItemFailures": failures}))
        return Answered(rest.encode() if verb == "returns" else b"null")

    def invocation_record(self, step: Discard[Held]) -> dict[str, Any]:
        batch = DiscardedBatch(
            request_id=step.request_id,
            function_arn="f",
            condition=step.condition,
            invoke_count=step.invoke_count,
            response=step.response,
            at=BEGINNING + self.now,
            mapping_uuid="u",
            shard_id=ShardId("shardId-000000000000"),
            stream_arn=Arn.parse("arn:aws:kinesis:eu-west-1:123456789012:stream/s"),
            records=step.records,
        )
        document: dict[str, Any] = orjson.loads(document_of(batch, event=b"{}", document_id=uuid4()).text)
        assert document["KinesisBatchInfo"]["batchSize"] == len(step.records)
        return document | {"names": " ".join(one.sequence_number for one in step.records)}


def in_words(record: dict[str, Any]) -> str:
    context = record["requestContext"]
    if "responseContext" not in record:
        ending = "no responseContext"
    else:
        ending = f"functionError {orjson.dumps(record['responseContext']['functionError']).decode()}"
    return f"[{record['names']}] {context['condition']}, count {context['approximateInvokeCount']}, {ending}"


@pytest.mark.parametrize("case", [pytest.param(case, id=case.title) for case in cases()])
@pytest.mark.parity("CreateEventSourceMapping.MaximumRetryAttempts")
def test_a_failing_batch_is_handled_as_recorded(case: Case) -> None:
    play = Play(case)
    play.run()
    with_times = "at " in case.lines["invoked"]
    invoked = [f"at {at:.6g} s {words}" if with_times else words for at, words in play.invoked]
    assert "  ".join(invoked) == case.lines["invoked"].replace("nothing", "")
    assert "; ".join(play.reported) == case.lines["reported"].replace("nothing", "")
    assert play.done == case.lines["records"].split()


def test_every_recorded_case_is_tested() -> None:
    names = {re.split(r"[a-z]?\s", case.title)[0] for case in cases()}
    assert {f"S{number}" for number in [*range(1, 14), 15]} <= names
