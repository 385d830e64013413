"""How long must a received message stay hidden?

The queue's own visibility timeout, unless the batching window and the function's timeout do not fit into it: then AWS
uses window + timeout + 30 seconds.  AWS refuses a mapping whose function may run longer than the queue's timeout; here
messages in hand are hidden again for as long as needed, so such a mapping runs, with the longer timeout and a warning.
A message group must stay hidden for as long as its function may run, even if this process dies.  A standard queue's
messages are hidden for shorter times, again and again, so that a crash does not hide them for hours.

A failed message comes again when the queue's own visibility timeout, counted from its receive, is over.
AWS waits for the longer timeout where it uses one; this differs on purpose, because the queue's owner chose the pace.

Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Configuring a queue to use with Lambda".
"""

from __future__ import annotations

import math
from typing import NamedTuple

SLACK_IN_SECONDS = 30
LONGEST_IN_SECONDS = 43_200
"""Twelve hours: the most that SQS hides a message (SQS API reference, ChangeMessageVisibility)."""


LONGEST_FOR_A_STANDARD_QUEUE_IN_SECONDS = 1_230
"""The longest window, the longest timeout of a function on Lambda, and the slack: 300 + 900 + 30."""


class Visibility(NamedTuple):
    """`timeout_in_seconds` is for ReceiveMessage, `queue_timeout_in_seconds` is the queue's own."""

    timeout_in_seconds: int
    queue_timeout_in_seconds: int
    advice: str | None


def effective_visibility(
    *, queue_timeout_in_seconds: int, window_in_seconds: int, function_timeout_in_seconds: float, is_fifo: bool
) -> Visibility:
    """The visibility timeout to receive with, and what to tell the owner of the queue."""
    needed = window_in_seconds + math.ceil(function_timeout_in_seconds)
    if needed <= queue_timeout_in_seconds:
        return Visibility(queue_timeout_in_seconds, queue_timeout_in_seconds, None)
    longest = LONGEST_IN_SECONDS if is_fifo else max(queue_timeout_in_seconds, LONGEST_FOR_A_STANDARD_QUEUE_IN_SECONDS)
    timeout = min(longest, needed + SLACK_IN_SECONDS)
    advice = (
        f"the queue's visibility timeout ({queue_timeout_in_seconds} s) is shorter than the batching window plus the "
        f"function's timeout ({needed} s): messages are hidden for {timeout} s instead, and again while they are in "
        "hand; AWS recommends six times the function's timeout, plus the window"
    )
    return Visibility(timeout, queue_timeout_in_seconds, advice)


def seconds_until(shown_at: float, *, longest_until: float, now: float) -> int:
    """The visibility timeout that shows a message at that time: whole seconds, rounded up so that it is not early.

    SQS refuses a timeout that reaches beyond `longest_until`.
    """
    return max(0, min(math.ceil(shown_at - now), int(longest_until - now)))
