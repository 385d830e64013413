"""How does this daemon take a mapping over from AWS Lambda, and how does the mapping go back?

    queue    both read the queue for a while: SQS gives each message to one of them, and keeps the order of groups
    stream   disable the mapping on AWS ── wait until it is disabled ── set an earlier position here ── start

AWS does not tell the position of a mapping in a stream. So the plan computes a time that is early enough from three
values:

    T    the time at which the mapping was disabled on AWS
    M    a margin in seconds: time enough to gather one batch and to invoke the function twice
    A    the highest IteratorAge in the M seconds before T; for each event, this metric tells how old the last record
         was when Lambda sent the event

Lambda sent these events at T - M or later, so the last record of each event arrived at T - M - A or later. The mapping
begins here at this time:

    arrival of records  ──┬──── may be delivered twice ────┬──── delivered here only ────>
                      T - M - A                            T

Because M is long enough, each shard with new records has an event in the M seconds. Records that AWS had gathered by
T, but had not sent yet, arrived in the M seconds.
A blocked batch breaks this rule: its first record may be older than IteratorAge tells. So the plan moves T to a time
when no batch was blocked. If there is no such time, the mapping begins at the oldest record of the stream.
AWS does not hand over the state of an open tumbling window. So the mapping begins here at the start of a window.

Sources: AWS Lambda Developer Guide, "Types of metrics for Lambda functions", IteratorAge; AWS Lambda API Reference,
"UpdateEventSourceMapping" and "CreateEventSourceMapping".
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

from poller.model.arn import Arn
from poller.settings.table import in_comment

METRICS_MARGIN_IN_SECONDS = 120
"""One minute because the metric has one value for each minute, and one minute for reads and for different clocks."""

LONGEST_TIMEOUT_IN_SECONDS = 900
"""The longest timeout of a function on AWS Lambda. It counts if AWS did not describe the function."""

IDLE_WINDOW_IN_SECONDS = 120
"""How long AWS keeps a tumbling window open after its end if no record comes (AWS Lambda Developer Guide)."""

PLAN = """\
# PLAN
#
# Before you begin: run `poller check`, and give the daemon the permissions that these commands print.
# `poller iam` leaves out disabled mappings, so it reads a copy of this file in which all mappings are enabled.
#   sed 's/^enabled = false$/enabled = true/' poller.toml > enabled.toml
#   poller iam -c enabled.toml
# Take over one mapping at a time. Copy the commands to bash without the # before them.
# Each plan says what is delivered twice; nothing is left out."""

QUEUE = """\
{name}
  1. Set enabled = true in [mappings.{name}], and start the daemon or run `poller reload`.
     Both read the queue now. SQS gives each message to one of them, and keeps the order of message groups.
  2. aws lambda update-event-source-mapping --region {region} --uuid {uuid} --no-enabled
  Delivered twice: only what SQS itself repeats.
  To go back: run the command of step 2 with --enabled, then set enabled = false here."""

DISABLE = "T=$(date +%s); aws lambda update-event-source-mapping --region {region} --uuid {uuid} --no-enabled"

IS_DISABLED = """\
T={changed_at}
     AWS last changed this mapping then, and it is disabled. If it was disabled earlier, set T to this earlier time."""

STREAM = """\
{name}
  1. {begin}
     Wait until this prints Disabled:
     aws lambda get-event-source-mapping --region {region} --uuid {uuid} --query State --output text
  2. Wait two minutes, so that CloudWatch has the last values. Print the values of the {margin} seconds before T:
     for METRIC in IteratorAge Errors Throttles; do
       aws cloudwatch get-metric-statistics --region {region} --namespace AWS/Lambda --metric-name $METRIC \\
         --dimensions Name=FunctionName,Value={function} --statistics Maximum --period 60 \\
         --start-time $((T - {margin} - 60)) --end-time $((T + 60)) \\
         --query '[Label, sort_by(Datapoints, &Timestamp)[].[Timestamp, Maximum]]' --output text
     done
     No batch was blocked if Errors and Throttles are 0, and IteratorAge does not rise by 60000 each minute.
     Then set A to the highest value of IteratorAge, as it is printed, in milliseconds. For example: A=1234.0
     If a batch was blocked, its first record may be much older than IteratorAge tells. Set T to an earlier time, when
     no batch was blocked, for example T=$((T - 3600)). Then print the values again.
     If there is no value, ask for an earlier period, and use the time of its last value in place of T.
  3. Set enabled = true in [mappings.{name}]. While the daemon is stopped:
     poller state set {name} {position}
     If you found no time without a blocked batch: poller state set {name} TRIM_HORIZON
  4. Start the daemon.
  Delivered twice: records that arrived after the position of step 3, and that AWS has delivered already.
  They arrived in the A + {overlap} seconds before T. If you moved T back, some also arrived in the time by which you
  moved T.
{windows}\
  To go back: note poller_iterator_age_seconds and the time, set enabled = false here, and run `poller reload`.
{back}"""

WINDOWS = """\
  The position is the start of a tumbling window. Windows since then begin again here with an empty state.
  The state of the window that was open on AWS at T is not taken over.
"""

BACK_TO_KINESIS = """\
     Delete the mapping on AWS and create it again with --starting-position AT_TIMESTAMP, at the noted time minus the
     noted age minus {margin} seconds. Do not enable the old mapping: AWS kept its position, so it would deliver
     everything since T again."""

BACK_TO_A_TABLE = """\
     Then enable the mapping on AWS again. AWS kept its position, so it delivers everything since T again.
     A new mapping of a DynamoDB stream cannot begin at a time, only at TRIM_HORIZON or LATEST."""


def steps_for(name: str, mapping: Mapping[str, Any], source: Arn, timeout_in_seconds: int | None) -> str:
    """Return the steps, as lines of text. `mapping` is AWS's description, and `name` its name in the file.

    `timeout_in_seconds` is the function's own, or None if AWS did not tell it.
    """
    text = QUEUE if source.service == "sqs" else STREAM
    length = mapping.get("TumblingWindowInSeconds") or 0
    margin = _margin_in_seconds(mapping, timeout_in_seconds)
    which = {"region": quote(in_comment(source.region)), "uuid": quote(in_comment(mapping["UUID"]))}
    return text.format(
        name=name,
        **which,
        begin=_begin(mapping, which),
        function=quote(in_comment(str(mapping["FunctionArn"]).split(":")[6])),
        margin=margin,
        overlap=margin + length,
        position=_position(margin, length),
        windows=WINDOWS if length else "",
        back=(BACK_TO_KINESIS if source.service == "kinesis" else BACK_TO_A_TABLE).format(margin=margin),
    )


def _begin(mapping: Mapping[str, Any], which: Mapping[str, str]) -> str:
    """Return the first step: it sets T, and disables the mapping if it is enabled."""
    if mapping.get("State") not in ("Disabled", "Disabling"):
        return DISABLE.format(**which)
    return IS_DISABLED.format(changed_at=int(mapping["LastModified"].timestamp()))


def _margin_in_seconds(mapping: Mapping[str, Any], timeout_in_seconds: int | None) -> int:
    """Return the longest time between the last event of a shard and T, if no batch was blocked."""
    timeout = LONGEST_TIMEOUT_IN_SECONDS if timeout_in_seconds is None else timeout_in_seconds
    gathering: int = mapping.get("MaximumBatchingWindowInSeconds") or 0
    length: int = mapping.get("TumblingWindowInSeconds") or 0
    return METRICS_MARGIN_IN_SECONDS + gathering + 2 * timeout + (length + IDLE_WINDOW_IN_SECONDS if length else 0)


def _position(margin: int, window_length: int) -> str:
    """Return the time to begin at, as arithmetic of the shell. Windows begin at multiples of their length."""
    time = f"T - ${{A%.*}} / 1000 - {margin}"
    return f"$((({time}) / {window_length} * {window_length}))" if window_length else f"$(({time}))"
