"""Does the check of a killed daemon's history find every kind of fault?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from poller.model.stream import AfterSequence, SequenceNumber, ShardEnd, ShardId
from tests.e2e.kill_history import Began, Ended, Event, KillHistory, Reported, Stored, Summary
from tests.e2e.streams import Clicks
from tests.fakes.aws_over_http import AwsOverHttp
from tests.fakes.watch import Watch

pytestmark = pytest.mark.anyio


class Story:
    """A shard with the records 0, 1 and 2 for the function and one that is filtered out, then a child with 3."""

    def __init__(self) -> None:
        self.source = Clicks(AwsOverHttp(Watch()), "clicks")
        [self.shard] = [ShardId(shard.shard_id) for shard in self.source.shards]
        self.numbers = self.source.put_all("a", "b", "a")
        self.filtered_out = self.source.put(kind="skipped")
        self.source.split(self.shard)
        self.numbers.append(self.source.put("a"))
        self.events: list[Event] = []

    def began(self, life: int, *places: int) -> None:
        self.events.append(Began(len(self.events), life, [self.numbers[place] for place in places]))

    def did(self, life: int, *places: int) -> None:
        self.began(life, *places)
        self.events.append(Ended(len(self.events), life, [self.numbers[place] for place in places]))

    def reported(self, place: int) -> None:
        self.events.append(Reported(len(self.events), self.numbers[place]))

    def stored(self, life: int, place: int | None) -> None:
        """Return the entry of stored positions. None is the shard's end."""
        position = ShardEnd() if place is None else AfterSequence(SequenceNumber(self.numbers[place]))
        self.events.append(Stored(len(self.events), life, {self.shard: position}))

    def check(self, *, is_by_key: bool = False) -> Summary:
        return KillHistory(self.source, is_by_key=is_by_key).check(self.events)


def a_record_is_lost(story: Story) -> None:
    story.did(1, 0, 1, 2)


def stored_past_a_record_that_is_not_done(story: Story) -> None:
    story.did(1, 0)
    story.stored(1, 1)
    story.did(2, 1, 2)
    story.did(2, 3)


def stored_further_back(story: Story) -> None:
    story.did(1, 0, 1, 2)
    story.stored(1, 2)
    story.stored(2, 1)


def repeated_though_stored(story: Story) -> None:
    story.did(1, 0)
    story.stored(1, 0)
    story.did(2, 0, 1, 2)


def handed_over_before_the_record_before_is_done(story: Story) -> None:
    story.began(1, 0)
    story.did(1, 1, 2)


def handed_over_as_if_done_in_this_life(story: Story) -> None:
    story.did(1, 0, 1)
    story.did(2, 2)


def out_of_order_in_its_batch(story: Story) -> None:
    story.did(1, 1, 0, 2)


def a_child_before_its_parent(story: Story) -> None:
    story.did(1, 0, 1)
    story.did(1, 3)


def a_batch_of_two_shards(story: Story) -> None:
    story.did(1, 0, 1, 2, 3)


def filtered_out_and_handed_over(story: Story) -> None:
    story.did(1, 0, 1, 2)
    story.numbers.append(story.filtered_out)
    story.did(1, 4)


FAULTS = [
    (a_record_is_lost, "are lost"),
    (stored_past_a_record_that_is_not_done, "is not done, and was stored as done"),
    (stored_further_back, "moved back"),
    (repeated_though_stored, "was stored as done before this life"),
    (handed_over_before_the_record_before_is_done, "came before"),
    (handed_over_as_if_done_in_this_life, "came before"),
    (out_of_order_in_its_batch, "out of order"),
    (a_child_before_its_parent, "came before"),
    (a_batch_of_two_shards, "of two shards"),
    (filtered_out_and_handed_over, "is filtered out"),
]


@pytest.mark.parametrize(("tell", "message"), FAULTS)
async def test_every_kind_of_fault_in_a_history_is_found(tell: Callable[[Story], None], message: str) -> None:
    story = Story()
    tell(story)
    with pytest.raises(AssertionError, match=message):
        story.check()


async def test_records_that_were_not_stored_may_be_repeated() -> None:
    story = Story()
    story.did(1, 0)
    story.began(1, 1)
    story.stored(1, 0)
    story.did(2, 1)
    story.reported(2)
    story.stored(2, None)
    story.did(3, 3)
    assert story.check() == Summary(lives=3, records=4, invocations=4, succeeded=3, reported=1, repeated=1, shards=3)


async def test_records_of_different_lanes_may_have_any_order() -> None:
    story = Story()
    story.did(1, 1)
    story.did(1, 0, 2)
    story.did(1, 3)
    assert story.check(is_by_key=True).succeeded == 4
