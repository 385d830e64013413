"""How does a queue deliver messages? It has the messages that wait in order, those in flight, and the polls that wait.

A standard queue is one group that is never locked.
A FIFO queue has many groups. A group with a message in flight is locked until that message is deleted or visible again,
and a receive takes as many messages of one group as it can.
Deadlines are in a heap, with one entry for each receive. An entry counts only if the message is still in flight with
the same deadline.
Source: Amazon SQS Developer Guide, "Amazon SQS visibility timeout" and "FIFO queue delivery logic in Amazon SQS".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from heapq import heappop, heappush

from tests.bench.servers.ledger import Ledger
from tests.bench.servers.messages import Sent, render

VISIBILITY_TIMEOUT_IN_SECONDS = 30

Hand = Callable[[list[str]], None]
"""Passes rendered messages to the poll that waits for them."""


class Group:
    """An ordered sequence of waiting messages, and the number of its messages in flight."""

    __slots__ = ("in_flight", "name", "waiting")

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: deque[int] = deque()
        self.in_flight = 0


class Poll:
    """A long poll that waits for a message."""

    __slots__ = ("hand", "limit", "visibility")

    def __init__(self, hand: Hand, limit: int, visibility: float) -> None:
        self.hand = hand
        self.limit = limit
        self.visibility = visibility


class Queue:
    """A queue. It is not thread-safe and has no clock: `now` is in seconds of any clock that never goes back."""

    def __init__(self, name: str, ledger: Ledger) -> None:
        self.name = name
        self.is_fifo = name.endswith(".fifo")
        self._ledger = ledger
        self._groups: dict[str, Group] = {}
        self._ready: deque[Group] = deque()
        self._group_of: dict[int, str] = {}
        self._own: dict[int, Sent] = {}
        self._deadlines: dict[int, float] = {}
        self._heap: list[tuple[float, list[int]]] = []
        self._polls: deque[Poll] = deque()

    @property
    def waiting(self) -> int:
        return sum(len(group.waiting) for group in self._groups.values())

    @property
    def in_flight(self) -> int:
        return len(self._deadlines)

    def send_canned(self, count: int, *, now: float) -> None:
        for number in self._ledger.add(count):
            self._put(number)
        self._serve(now)

    def send_own(self, own: Sent, group: str | None, *, now: float) -> int:
        (number,) = self._ledger.add(1)
        self._own[number] = own
        if group is not None:
            self._group_of[number] = group
        self._put(number)
        self._serve(now)
        return number

    def receive(self, poll: Poll, *, now: float) -> bool:
        """Pass the available messages to the poll. If there are none, remember the poll and return False."""
        self._show_expired(now)
        if self._answer(poll, now):
            return True
        self._polls.append(poll)
        return False

    def give_up(self, poll: Poll) -> None:
        """Forget a poll, because its time is over or its connection has ended."""
        if poll in self._polls:
            self._polls.remove(poll)

    def delete(self, number: int) -> None:
        self._ledger.note_delete(number)
        if self._deadlines.pop(number, None) is not None:
            group = self._group(number)
            group.in_flight -= 1
            self._offer(group)

    def change_visibility(self, number: int, seconds: float, *, now: float) -> bool:
        """Change the visibility timeout of a message. Return False if the message is not in flight."""
        if number not in self._deadlines:
            return False
        self._deadlines[number] = now + seconds
        heappush(self._heap, (now + seconds, [number]))
        return True

    def tick(self, now: float) -> None:
        """Make messages visible whose timeout is over, unlock their groups, and answer the polls that wait."""
        self._show_expired(now)
        self._serve(now)

    def _serve(self, now: float) -> None:
        while self._polls and self._ready:
            self._answer(self._polls.popleft(), now)

    def _answer(self, poll: Poll, now: float) -> bool:
        numbers = self._take(poll.limit)
        if numbers:
            deadline = now + poll.visibility
            self._deadlines.update(dict.fromkeys(numbers, deadline))
            heappush(self._heap, (deadline, numbers))
            poll.hand([self._render(number) for number in numbers])
        return bool(numbers)

    def _take(self, limit: int) -> list[int]:
        numbers: list[int] = []
        while self._ready and len(numbers) < limit:
            group = self._ready[0]
            count = min(limit - len(numbers), len(group.waiting))
            numbers += [group.waiting.popleft() for _ in range(count)]
            group.in_flight += count
            if self.is_fifo or not group.waiting:
                self._ready.popleft()
        return numbers

    def _show_expired(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            deadline, numbers = heappop(self._heap)
            self._show(number for number in reversed(numbers) if self._deadlines.get(number) == deadline)

    def _show(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            del self._deadlines[number]
            group = self._group(number)
            group.in_flight -= 1
            group.waiting.appendleft(number)
            if self.is_fifo:
                group.waiting = deque(sorted(group.waiting))
            self._offer(group)

    def _put(self, number: int) -> None:
        group = self._group(number)
        group.waiting.append(number)
        if len(group.waiting) == 1:
            self._offer(group)

    def _offer(self, group: Group) -> None:
        is_locked = self.is_fifo and group.in_flight
        if group.waiting and not is_locked and group not in self._ready:
            self._ready.append(group)

    def _group(self, number: int) -> Group:
        name = ""
        if self.is_fifo:
            name = self._group_of.get(number) or f"customer-{number % (self._ledger.groups or 1)}"
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = Group(name)
        return group

    def _render(self, number: int) -> str:
        group = self._group(number).name if self.is_fifo else None
        return render(number, ledger=self._ledger, group=group, own=self._own.get(number))
