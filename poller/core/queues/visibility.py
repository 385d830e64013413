"""How long must a received message stay hidden?

A message stays hidden for the queue's own visibility timeout. If the batching window plus the function's timeout is
longer, the timeout is window + function's timeout + 30 seconds, as on AWS.
AWS refuses a mapping whose function may run longer than the queue's timeout. poller accepts such a mapping with a
warning, because it keeps extending the timeouts of messages in hand.
On a FIFO queue, a message stays hidden until its function has ended, also if this process crashes: no other invocation
of the message group begins while the function runs. So the timeout must also be long enough for a call to SQS and for
a function that begins late; if the queue's own timeout is not, poller uses the longer one here too.
On a standard queue, the longer timeout is about 20 minutes at most and is extended when needed, so that a crash does
not hide messages for hours.

A failed message becomes visible when the queue's own visibility timeout, counted from its receive, is over.
AWS waits for the longer timeout if it uses one. poller differs here on purpose: the queue's owner chose the timeout.

Source: AWS Lambda Developer Guide, "Using Lambda with Amazon SQS" and "Configuring a queue to use with Lambda".
"""

from __future__ import annotations

import math
from typing import NamedTuple

SLACK_IN_SECONDS = 30

CALL_IN_SECONDS = 1.0
"""The time that a call to SQS may take."""

SECONDS_TO_BEGIN = 6.0
"""The longest time between a call and the start of its function: five seconds to connect, and one for the emulator."""

LONGEST_IN_SECONDS = 43_200
"""Twelve hours: the longest time for which SQS hides a message (SQS API reference, ChangeMessageVisibility)."""

LONGEST_FOR_A_STANDARD_QUEUE_IN_SECONDS = 1_230
"""The longest batching window, the longest function timeout on Lambda, and the slack: 300 + 900 + 30."""


class Visibility(NamedTuple):
    """Two timeouts: `timeout_in_seconds` is for ReceiveMessage, and `queue_timeout_in_seconds` is the queue's own.

    `advice` is a warning for the queue's owner; None if the queue's own timeout is long enough.
    """

    timeout_in_seconds: int
    queue_timeout_in_seconds: int
    advice: str | None


def effective_visibility(
    *, queue_timeout_in_seconds: int, window_in_seconds: int, function_timeout_in_seconds: float, is_fifo: bool
) -> Visibility:
    """Return the visibility timeout for ReceiveMessage, and a warning if the queue's own timeout is too short."""
    needed = window_in_seconds + math.ceil(function_timeout_in_seconds)
    if needed + (CALL_IN_SECONDS + SECONDS_TO_BEGIN if is_fifo else 0) <= queue_timeout_in_seconds:
        return Visibility(queue_timeout_in_seconds, queue_timeout_in_seconds, None)
    longest = LONGEST_IN_SECONDS if is_fifo else max(queue_timeout_in_seconds, LONGEST_FOR_A_STANDARD_QUEUE_IN_SECONDS)
    timeout = min(longest, needed + SLACK_IN_SECONDS)
    if needed <= queue_timeout_in_seconds:
        return Visibility(timeout, queue_timeout_in_seconds, None)
    advice = (
        f"the queue's visibility timeout ({queue_timeout_in_seconds} s) is shorter than the batching window plus the "
        f"function's timeout ({needed} s), so poller hides messages for {timeout} s, and for longer while they are "
        "in hand; AWS recommends six times the function's timeout, plus the window"
    )
    return Visibility(timeout, queue_timeout_in_seconds, advice)


def seconds_until(shown_at: float, *, longest_until: float, now: float) -> int:
    """Return the visibility timeout, in whole seconds from now, with which a message becomes visible at `shown_at`.

    The timeout is rounded up, so that the message is not visible too early. SQS refuses a timeout that ends after
    `longest_until`, which is twelve hours after the receive, so a later `shown_at` is replaced by that time.
    """
    return max(0, min(math.ceil(shown_at - now), int(longest_until - now)))
