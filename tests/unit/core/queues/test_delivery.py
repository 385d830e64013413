"""What happens to the messages of a gathered batch, for each outcome?"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import count

import pytest

from poller.core.backoff import Backoff
from poller.core.queues.delivery import Delivery, Finish, Invoke, Step, Wait, give_back
from poller.core.queues.in_hand import MessageInHand, Receive
from poller.model.ids import MessageGroupId, MessageId, ReceiptHandle, RequestId
from poller.model.message import Message
from poller.model.outcome import Failed, Outcome, Oversized, PartlyFailed, Postponed, Succeeded

SUCCEEDED = Succeeded()
TIMEOUT = 100.0
"""The time when the messages become visible by themselves; they were received at 0."""

NOW = 50.0
MAY_RUN_UNTIL = 500.0


def held(name: str) -> MessageInHand:
    """Return a message. `g2` is the second one of group g, and `2` one of a standard queue."""
    group = MessageGroupId(name[0]) if name[0].isalpha() else None
    message = Message(MessageId(name), ReceiptHandle(name), group, 0.0, {})
    return MessageInHand(message, b"", Receive(0.0, 0.0, 200, int(TIMEOUT)))


def names(messages: Sequence[MessageInHand]) -> str:
    return " ".join(one.message.message_id for one in messages)


class Hand:
    """A delivery and its steps. `batches` are separated by bars, as in `a1 a2 | a3`."""

    def __init__(
        self, batches: str = "", *, aside: str = "", filtered_out: str = "", backoff: Backoff | None = None
    ) -> None:
        ids = count(1)
        self.delivery = Delivery(
            new_request_id=lambda: RequestId(f"r{next(ids)}"), randomness=random.Random(1), redelivery_backoff=backoff
        )
        self.messages: dict[str, MessageInHand] = {}
        for batch in batches.split("|"):
            self.delivery.put([self._held(name) for name in batch.split()], begins_batch=True)
        if aside:
            self.delivery.set_aside([self._held(name) for name in aside.split()])
        if filtered_out:
            self.delivery.filter_out([self._held(name) for name in filtered_out.split()])

    def _held(self, name: str) -> MessageInHand:
        self.messages[name] = held(name)
        return self.messages[name]

    def invoke(self) -> str:
        """Take the next step, which must be an invocation; return its messages, its request id and its attempt."""
        step = self.delivery.step()
        assert isinstance(step, Invoke), step
        self.delivery.begin()
        return f"{names(self.delivery.messages)}: {step.request_id} {step.attempt}"

    def answer(self, outcome: Outcome) -> Step | None:
        """Invoke, and return the step after this outcome."""
        self.invoke()
        self.delivery.answered(outcome, now=NOW, may_run_until=MAY_RUN_UNTIL)
        return self.delivery.step()

    def finish(self, outcome: Outcome) -> tuple[str, str]:
        """Invoke; the outcome must finish the batch. Returns what is deleted, and what is shown again."""
        return self.finished(self.answer(outcome))

    @staticmethod
    def finished(step: Step | None) -> tuple[str, str]:
        assert isinstance(step, Finish), step
        return names(step.delete), names(step.show)

    def hidden(self) -> str:
        return " ".join(sorted(one.message.message_id for one in self.delivery.hidden()))

    def give_back(self) -> dict[str, str | float]:
        """Return for each released message `deleted`, or the time when it is shown."""
        delete, show = give_back([self.delivery], may_run_until=MAY_RUN_UNTIL)
        return {one.message.message_id: "deleted" for one in delete} | {
            one.message.message_id: one.returns_at for one in show
        }


@pytest.mark.parametrize(
    ("outcome", "deleted", "shown"),
    [
        (SUCCEEDED, "1 2 3", ""),
        (PartlyFailed(frozenset({"2"})), "1 3", "2"),
        (Failed("KeyError"), "", "1 2 3"),
    ],
)
def test_an_outcome_says_which_messages_are_deleted_and_which_are_shown_again(
    outcome: Outcome, deleted: str, shown: str
) -> None:
    hand = Hand("1 2 3")
    assert hand.finish(outcome) == (deleted, shown)
    assert hand.delivery.step() is None
    assert all(one.returns_at == TIMEOUT for one in hand.messages.values()), "at the queue's own time"


def test_a_batch_that_is_postponed_is_invoked_again_unchanged_and_keeps_its_request_id() -> None:
    hand = Hand("1 2")
    assert hand.invoke() == "1 2: r1 1"
    hand.delivery.answered(Postponed("Throttled", None, True), now=NOW, may_run_until=MAY_RUN_UNTIL)
    first = hand.delivery.pause
    assert first is not None
    assert 0.1 <= first <= 0.2
    assert hand.delivery.step() == Wait(first)
    assert hand.delivery.pause is None, "it is waited for once"
    assert hand.invoke() == "1 2: r1 2"
    hand.delivery.answered(Postponed("Throttled", 17.0, True), now=NOW, may_run_until=MAY_RUN_UNTIL)
    assert hand.delivery.step() == Wait(17.0), "the pause that the function asks for"
    assert hand.invoke() == "1 2: r1 3"


def test_each_further_postponement_doubles_the_wait() -> None:
    hand = Hand("1")
    waits = []
    for _ in range(5):
        step = hand.answer(Postponed("Throttled", None, True))
        assert isinstance(step, Wait)
        waits.append(step.seconds)
    assert all(0.2 * 2**n * 0.5 <= wait <= 0.2 * 2**n for n, wait in enumerate(waits))


def test_several_batches_are_invoked_one_after_another_each_with_its_own_request_id() -> None:
    hand = Hand("1 2 | 3 | 4 5")
    asked = []
    for _ in range(3):
        asked.append(hand.invoke())
        hand.delivery.answered(SUCCEEDED, now=NOW, may_run_until=MAY_RUN_UNTIL)
        assert isinstance(hand.delivery.step(), Finish)
    assert asked == ["1 2: r1 1", "3: r2 1", "4 5: r3 1"]
    assert hand.delivery.step() is None


@pytest.mark.parity("event too large")
def test_a_batch_that_is_too_large_is_invoked_as_two_halves_in_order() -> None:
    hand = Hand("1 2 3 | 4")
    assert hand.invoke() == "1 2 3: r1 1"
    hand.delivery.answered(Oversized("HTTP.413"), now=NOW, may_run_until=MAY_RUN_UNTIL)
    assert hand.delivery.pause is None
    assert hand.invoke() == "1: r2 1"
    hand.delivery.answered(SUCCEEDED, now=NOW, may_run_until=MAY_RUN_UNTIL)
    assert hand.finished(hand.delivery.step()) == ("1", "")
    assert hand.invoke() == "2 3: r3 1"
    hand.delivery.answered(Oversized("HTTP.413"), now=NOW, may_run_until=MAY_RUN_UNTIL)
    assert [hand.finish(SUCCEEDED) for _ in range(3)] == [("2", ""), ("3", ""), ("4", "")]
    assert hand.delivery.step() is None


@pytest.mark.parametrize(
    ("outcome", "first", "rest"),
    [
        (Failed("KeyError"), ("", "a1 b1 a2 b2 a3"), ["c1", "c2"]),
        (PartlyFailed(frozenset({"a1"})), ("b1", "a1 a2 a3"), ["b2 c1", "c2"]),
        (SUCCEEDED, ("a1 b1", ""), ["a2 b2 c1", "a3 c2"]),
    ],
)
def test_a_message_that_is_not_done_removes_its_group_from_the_later_batches(
    outcome: Outcome, first: tuple[str, str], rest: list[str]
) -> None:
    hand = Hand("a1 b1 | a2 b2 c1 | a3 c2")
    assert hand.finish(outcome) == first
    assert [hand.finish(SUCCEEDED)[0] for _ in rest] == rest
    assert hand.delivery.step() is None


def test_a_half_that_fails_removes_its_groups_from_the_other_half() -> None:
    hand = Hand("a1 b1 a2 b2")
    assert hand.invoke() == "a1 b1 a2 b2: r1 1"
    hand.delivery.answered(Oversized("HTTP.413"), now=NOW, may_run_until=MAY_RUN_UNTIL)
    assert hand.finish(PartlyFailed(frozenset({"a1"}))) == ("b1", "a1 a2")
    assert hand.finish(SUCCEEDED) == ("b2", "")


def test_a_batch_whose_messages_an_earlier_batch_has_removed_is_not_invoked() -> None:
    hand = Hand("a1 | a2 | b1")
    assert hand.finish(Failed("KeyError")) == ("", "a1 a2")
    assert hand.finished(hand.delivery.step()) == ("", "")
    assert hand.finish(SUCCEEDED) == ("b1", "")


def test_a_group_whose_function_may_still_run_is_shown_after_the_timeout_of_the_function() -> None:
    hand = Hand("a1 1 | a2", aside="b1")
    assert hand.finish(Failed("LostAnswer", may_still_run=True)) == ("", "a1 1 a2")
    assert {name: one.returns_at for name, one in hand.messages.items()} == {
        "a1": MAY_RUN_UNTIL,
        "a2": MAY_RUN_UNTIL,
        "1": TIMEOUT,
        "b1": TIMEOUT,
    }
    later = Hand("a1", aside="b1 1")
    later.messages["a1"].return_at(900.0)
    later.finish(Failed("LostAnswer", may_still_run=True))
    assert [one.returns_at for one in later.messages.values()] == [900.0, MAY_RUN_UNTIL, TIMEOUT]


def test_messages_set_aside_are_shown_again_with_the_last_batch_and_not_invoked() -> None:
    hand = Hand("1 | 2", aside="3")
    assert hand.finish(SUCCEEDED) == ("1", "")
    assert hand.finish(SUCCEEDED) == ("2", "3")
    assert hand.messages["3"].returns_at == TIMEOUT


def test_a_delivery_of_only_messages_set_aside_shows_them_again() -> None:
    hand = Hand(aside="a1 2")
    assert hand.delivery.batch_count == 1
    assert hand.finished(hand.delivery.step()) == ("", "a1 2")
    assert hand.delivery.step() is None


def test_a_failed_message_is_shown_with_the_messages_set_aside_of_its_group() -> None:
    hand = Hand("a1 | b1", aside="a2 b2")
    assert hand.finish(Failed("KeyError")) == ("", "a1 a2")
    assert hand.finish(SUCCEEDED) == ("b1", "b2")


def test_messages_that_are_filtered_out_are_deleted_with_the_first_batch_that_is_done() -> None:
    hand = Hand("1 | 2", filtered_out="7 8")
    gone = hand.messages["7"]
    hand.delivery.filtered_out_are_deleted([gone, hand.messages["8"]], but=[hand.messages["8"]])
    assert hand.finish(Failed("KeyError")) == ("8", "1")
    assert hand.finish(SUCCEEDED) == ("2", "")


def test_a_message_that_may_be_visible_and_the_later_ones_of_its_group_are_not_invoked() -> None:
    hand = Hand("a1 a2 b1 1 2 | a3 b2")
    step = hand.delivery.step()
    assert isinstance(step, Invoke)
    assert names(hand.delivery.drop_lost(now=150.0)) == "", "their receive hides them for 200 s"
    hand.messages["a1"].hidden_until = 150.0
    hand.messages["1"].is_lost = True
    assert names(hand.delivery.drop_lost(now=150.0)) == "a1 a2 1"
    assert names(hand.delivery.messages) == "b1 2"
    assert hand.messages["a1"].is_lost, "it is never hidden again"
    assert not hand.messages["a2"].is_lost
    hand.delivery.begin()
    hand.delivery.answered(SUCCEEDED, now=NOW, may_run_until=MAY_RUN_UNTIL)
    assert hand.finished(hand.delivery.step()) == ("b1 2", "a1 a2 1 a3")
    assert hand.finish(SUCCEEDED) == ("b2", "")


def test_a_batch_without_messages_left_is_not_invoked() -> None:
    hand = Hand("1 2", filtered_out="3")
    hand.delivery.step()
    assert names(hand.delivery.drop_lost(now=200.0)) == "1 2"
    assert hand.finished(hand.delivery.step()) == ("3", "1 2")
    assert hand.delivery.step() is None


def test_a_batch_that_is_perhaps_not_hidden_waits_longer_each_time_and_uses_no_attempt() -> None:
    hand = Hand("a1")
    for doubts in range(3):
        assert isinstance(hand.delivery.step(), Invoke)
        hand.delivery.doubt()
        wait = hand.delivery.step()
        assert isinstance(wait, Wait)
        assert 0.1 * 2**doubts <= wait.seconds <= 0.2 * 2**doubts
    assert hand.invoke() == "a1: r1 1"


def test_a_batch_that_cannot_be_hidden_long_enough_is_shown_at_once_with_the_rest_of_its_groups() -> None:
    hand = Hand("a1 | a2 b1")
    hand.delivery.step()
    hand.delivery.withdraw()
    assert hand.finished(hand.delivery.step()) == ("", "a1 a2")
    assert (hand.messages["a1"].returns_at, hand.messages["a2"].returns_at) == (0.0, 0.0)
    assert hand.finish(SUCCEEDED) == ("b1", "")


def test_all_messages_in_hand_stay_hidden_except_those_to_be_shown_and_those_set_aside_of_a_standard_queue() -> None:
    hand = Hand("a1 a2 | b1", aside="b2 7", filtered_out="8")
    assert hand.hidden() == "8 a1 a2 b1 b2"
    hand.invoke()
    assert hand.hidden() == "8 a1 a2 b1 b2"
    hand.delivery.answered(PartlyFailed(frozenset({"a2"})), now=NOW, may_run_until=MAY_RUN_UNTIL)
    hand.delivery.step()
    assert hand.hidden() == "8 a1 b1 b2", "a1 and 8 are being deleted"
    hand.invoke()
    assert hand.hidden() == "b1 b2"
    hand.delivery.answered(SUCCEEDED, now=NOW, may_run_until=MAY_RUN_UNTIL)
    hand.delivery.step()
    assert hand.hidden() == "b1"
    hand.delivery.step()
    assert hand.hidden() == ""


def test_the_number_of_messages_falls_as_batches_are_done() -> None:
    hand = Hand("1 2 | 3", aside="4", filtered_out="5")
    assert hand.delivery.message_count == 4
    hand.answer(Failed("KeyError"))
    assert hand.delivery.message_count == 2, "5 is being deleted, 3 is still to come"
    hand.answer(SUCCEEDED)
    assert hand.delivery.message_count == 1
    assert hand.delivery.step() is None
    assert hand.delivery.message_count == 0


def test_the_groups_of_a_delivery_are_those_of_all_its_batches() -> None:
    assert Hand("a1 | b1 a2", aside="c1").delivery.groups == {"a", "b"}
    assert not Hand("1 2").delivery.groups


def test_a_stop_shows_gathered_messages_at_once_and_deletes_what_is_filtered_out() -> None:
    hand = Hand("1 a1 | 2", aside="3", filtered_out="4")
    assert hand.give_back() == {"1": 0.0, "a1": 0.0, "2": 0.0, "3": TIMEOUT, "4": "deleted"}
    assert (hand.delivery.step(), hand.hidden(), hand.delivery.message_count) == (None, "", 0), "nothing is left"


def test_a_stop_shows_messages_that_wait_for_the_function_at_once() -> None:
    hand = Hand("a1 | b1")
    hand.answer(Postponed("Throttled", None, True))
    assert hand.give_back() == {"a1": 0.0, "b1": 0.0}


def test_a_stop_shows_the_groups_of_a_running_batch_after_the_timeout_of_its_function_and_others_at_once() -> None:
    hand = Hand("a1 1 | a2 b1", aside="b2")
    hand.invoke()
    assert hand.give_back() == {"a1": MAY_RUN_UNTIL, "1": 0.0, "a2": MAY_RUN_UNTIL, "b1": 0.0, "b2": TIMEOUT}


def test_a_stop_does_not_change_earlier_decisions() -> None:
    for asked_for_the_step in (False, True):
        hand = Hand("a1 a2 | b1")
        hand.invoke()
        hand.delivery.answered(PartlyFailed(frozenset({"a2"})), now=NOW, may_run_until=MAY_RUN_UNTIL)
        if asked_for_the_step:
            hand.delivery.step()
        assert hand.give_back() == {"a1": "deleted", "a2": TIMEOUT, "b1": 0.0}


def test_at_a_stop_a_group_that_runs_in_one_delivery_stays_hidden_in_all_deliveries() -> None:
    running, waiting = Hand("a1"), Hand("a2 b1")
    running.invoke()
    give_back([waiting.delivery, running.delivery], may_run_until=MAY_RUN_UNTIL)
    assert waiting.messages["a2"].returns_at == MAY_RUN_UNTIL
    assert waiting.messages["b1"].returns_at == 0.0


def test_a_call_out_of_order_raises() -> None:
    hand = Hand("1")
    with pytest.raises(AssertionError):
        hand.delivery.answered(SUCCEEDED, now=NOW, may_run_until=MAY_RUN_UNTIL)
    hand.invoke()
    with pytest.raises(AssertionError):
        hand.delivery.step()


def test_messages_of_a_further_receive_join_the_last_batch_unless_they_do_not_fit() -> None:
    hand = Hand("1 | 2", filtered_out="7")
    hand.delivery.put([held("3")], begins_batch=False)
    hand.delivery.put([], begins_batch=True)
    hand.delivery.filter_out([held("8")])
    assert hand.delivery.batch_count == 2
    assert hand.finish(SUCCEEDED) == ("1 7 8", "")
    assert hand.finish(SUCCEEDED) == ("2 3", "")
    first = Hand()
    first.delivery.put([held("1")], begins_batch=False)
    assert first.finish(SUCCEEDED) == ("1", "")


def test_a_group_whose_function_has_ended_is_shown_after_the_queues_own_timeout() -> None:
    hand = Hand("a1")
    hand.finish(Failed("KeyError"))
    assert hand.messages["a1"].returns_at == TIMEOUT


def test_messages_set_aside_are_shown_with_the_second_half_of_their_batch() -> None:
    hand = Hand("1 2", aside="3")
    hand.invoke()
    hand.delivery.answered(Oversized("HTTP.413"), now=NOW, may_run_until=MAY_RUN_UNTIL)
    assert hand.finish(SUCCEEDED) == ("1", "")
    assert hand.finish(SUCCEEDED) == ("2", "3")


def test_messages_set_aside_are_not_shown_before_an_earlier_message_of_their_group_is_done() -> None:
    hand = Hand("a1 b1", aside="b2 a2")
    hand.invoke()
    hand.delivery.answered(Oversized("HTTP.413"), now=NOW, may_run_until=MAY_RUN_UNTIL)
    assert hand.finish(Failed("error")) == ("", "a1 a2"), "a failed message takes what was set aside of its group along"
    assert hand.finish(SUCCEEDED) == ("b1", "b2")


@pytest.mark.parametrize("batches", ["a1 2", "a1 2 | a3"])
@pytest.mark.parametrize("outcome", [PartlyFailed(frozenset({"a1"})), Failed("error")])
def test_with_a_redelivery_backoff_a_group_returns_together_and_set_aside_messages_of_others_as_usual(
    outcome: Outcome, batches: str
) -> None:
    hand = Hand(batches, aside="a2 b1", backoff=Backoff(initial=64.0, maximum=64.0))
    hand.answer(outcome)
    of_group = {message.returns_at for name, message in hand.messages.items() if name.startswith("a")}
    assert len(of_group) == 1
    assert NOW + 32 <= min(of_group) <= NOW + 64
    assert hand.messages["b1"].returns_at == TIMEOUT
    assert (hand.messages["2"].returns_at == TIMEOUT) == isinstance(outcome, PartlyFailed)


@pytest.mark.parametrize("is_invoked", [False, True])
def test_a_stop_shows_messages_again_in_their_order(is_invoked: bool) -> None:
    hand = Hand("a1 a2 | a3 b1 | b2")
    if is_invoked:
        hand.invoke()
    assert names(give_back([hand.delivery], may_run_until=MAY_RUN_UNTIL).show) == "a1 a2 a3 b1 b2"
