"""Were the promises for asynchronous events kept? The checker reads the history of queues, function and destinations.

no accepted event vanishes   it succeeded, or its record reached all its destinations, or it was counted as dropped,
                             or it is stuck and kept
one request id               each invocation has the id and the payload of an event that was sent
attempts and waits           they obey the rules for retries, given the answers of the function
duplicates                   only a trouble may cause them: a crash, a cancelled call, a lost answer, a claim that ended
bounds                       the function's concurrency; no claim is lost while its queue accepts every call

An event without trouble in its history must obey every rule exactly.
An event with trouble must not vanish, and each trouble explains one repetition.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import orjson

from poller.core.document import Document
from poller.facts import EventClaimLost, EventDropped
from poller.model.event import Delivery
from poller.model.ids import RequestId
from tests.simulation.checker import Violation
from tests.simulation.events_function import EventCall
from tests.simulation.events_world import EventsWorld

SLACK_IN_SECONDS = 31.0
"""How late a retry may begin if the function has room. A process that stops may need its grace of 30 seconds."""


@dataclass(kw_only=True)
class Sent:
    """An event that was sent. `was_accepted` is None if this is unknown.

    `troubles` counts causes of a possible repetition.
    """

    request_id: RequestId
    sent_at: float
    payload: bytes
    was_accepted: bool | None = None
    troubles: int = 0
    calls: list[EventCall] = field(default_factory=list)
    taken_by: dict[Delivery, list[Document]] = field(default_factory=lambda: defaultdict(list))

    @property
    def counted(self) -> int:
        """Return how many invocations count as attempts: those that ended as the daemon has seen it."""
        return sum(call.answer != "cut" for call in self.calls)


def check(world: EventsWorld, sent: Sequence[Sent]) -> Counter[str]:
    """Raise Violation if a promise was not kept. Return how many events were checked in each way."""
    by_id = {each.request_id: each for each in sent}
    _attach(world, by_id)
    counts: Counter[str] = Counter()
    for each in sent:
        _check_end(world, each)
        _check_repetitions(world, each)
        counts["with trouble" if each.troubles else "without trouble"] += 1
        if not each.troubles:
            _check_to_the_letter(world, each)
    if world.function.most_running > world.definition.reserved_concurrency:
        raise Violation(f"{world.function.most_running} invocations at once")
    if world.has_good_queues and world.facts_of(EventClaimLost):
        raise Violation("a claim was lost though its queue took every call")
    if world.waiting:
        raise Violation(f"events wait for ever: {world.waiting[:3]}")
    return counts


def _attach(world: EventsWorld, sent: dict[RequestId, Sent]) -> None:
    for call in world.function.calls:
        each = sent.get(RequestId(call.request_id))
        if each is None or each.was_accepted is False:
            raise Violation(f"an event was invoked that was never accepted: {call.request_id}")
        if call.payload != each.payload:
            raise Violation(f"{call.request_id} was invoked with the payload of another event")
        each.calls.append(call)
        each.troubles += call.answer == "cut"
    for delivery, destination in world.destinations.items():
        for document in destination.taken:
            each = sent[request_id_of(document)]
            each.taken_by[delivery].append(document)
        answered = Counter(id(document) for document in destination.answered)
        for document in destination.taken:
            if not answered[id(document)]:
                sent[request_id_of(document)].troubles += 1
            answered[id(document)] -= 1
    for request_id in _troubled(world):
        sent[request_id].troubles += 1


def request_id_of(document: Document) -> RequestId:
    """Return the request id of a record or of a dead letter."""
    ids = [RequestId(each.value) for each in document.attributes if each.name == "RequestID"]
    return ids[0] if ids else RequestId(orjson.loads(document.text)["requestContext"]["requestId"])


def _troubled(world: EventsWorld) -> Iterator[RequestId]:
    """Yield the event of each call to a queue that failed, came too late or was cancelled, and of each lost claim.

    If the queues accepted every call, a call that came too late is no excuse.
    """
    yield from (event.request_id for event in world.lost_in_queues)
    yield from (fact.request_id for fact in world.facts_of(EventClaimLost))
    if not world.has_good_queues:
        for queue in world.queues:
            yield from (entry.event.request_id for entry in queue.history if entry.kind == "too_late")


def _check_end(world: EventsWorld, each: Sent) -> None:
    if each.was_accepted is not True:
        return
    queued = [event for queue in world.queues for event in queue.events if event.request_id == each.request_id]
    if queued:
        if not all(event.stuck for event in queued):
            raise Violation(f"{each.request_id} still waits")
        return
    has_succeeded = any(call.answer == "succeeded" for call in each.calls)
    places = world.destinations.keys()
    if has_succeeded and ("on_success" not in places or each.taken_by["on_success"]):
        return
    failed = places & {"on_failure", "dead_letter"}
    if failed and all(each.taken_by[place] for place in failed):
        return
    is_dropped = any(fact.request_id == each.request_id for fact in world.facts_of(EventDropped))
    if failed or not is_dropped:
        raise Violation(f"{each.request_id} vanished: {each}")


def _check_repetitions(world: EventsWorld, each: Sent) -> None:
    allowed = world.retries + 1
    if len(each.calls) > allowed + each.troubles:
        raise Violation(f"{len(each.calls)} invocations of {each.request_id}, and {each.troubles} troubles")
    for delivery, documents in each.taken_by.items():
        if len(documents) > 1 + each.troubles:
            raise Violation(f"{delivery} got {each.request_id} {len(documents)} times, and {each.troubles} troubles")
    for earlier, later in pairwise(each.calls):
        if later.began_at < earlier.ended_at and not each.troubles:
            raise Violation(f"two invocations of {each.request_id} at once")
        if earlier.answer == "succeeded" and not each.troubles:
            raise Violation(f"{each.request_id} was invoked after its success")


def _check_to_the_letter(world: EventsWorld, each: Sent) -> None:
    if [call.attempt for call in each.calls] != list(range(1, len(each.calls) + 1)):
        raise Violation(f"attempts {[call.attempt for call in each.calls]} of {each.request_id}")
    waits = world.definition.event_invoke_config.retry_waits_in_seconds
    for (earlier, later), wait in zip(pairwise(each.calls), waits, strict=False):
        gap = later.began_at - earlier.ended_at
        is_late = gap > wait + SLACK_IN_SECONDS and world.has_no_delays
        if gap < wait - 0.001 or is_late:
            raise Violation(f"{each.request_id} waited {gap} instead of {wait}")
    for call in each.calls:
        if call.began_at - each.sent_at > world.maximum_age + 1.0:
            raise Violation(f"{each.request_id} was invoked at the age of {call.began_at - each.sent_at}")
    _check_record(world, each)


def _check_record(world: EventsWorld, each: Sent) -> None:
    """Check the condition and the number of attempts in the records about an event."""
    ends = {call.answer for call in each.calls[-1:]}
    for delivery, documents in each.taken_by.items():
        for document in documents:
            if delivery == "dead_letter":
                if document.text != each.payload:
                    raise Violation(f"the dead-letter queue got another payload of {each.request_id}")
                continue
            record = orjson.loads(document.text)["requestContext"]
            condition, attempts = record["condition"], record["approximateInvokeCount"]
            if (condition == "Success") != (delivery == "on_success"):
                raise Violation(f"{delivery} got {condition}")
            if attempts != len(each.calls):
                raise Violation(f"{each.request_id}: {attempts} attempts stated, {len(each.calls)} made")
            if condition == "Success" and ends != {"succeeded"}:
                raise Violation(f"{each.request_id} is called a success after {ends}")
            if condition == "RetriesExhausted" and attempts != world.retries + 1:
                raise Violation(f"{each.request_id} has exhausted its retries after {attempts} attempts")
