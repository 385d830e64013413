"""How does this daemon take a mapping over from AWS Lambda, and how does the mapping go back?

    queue    both may read it for a while: SQS gives each message to one of them, and keeps the order of groups
    stream   disable there ── wait until it has ended ── begin here at an earlier time ── start

AWS does not tell the position of a mapping in a stream. Its metric IteratorAge tells how old the last records were, so
the mapping begins here at the time of disabling, minus this age, minus a margin. So no record is left out, and the
records of this time are delivered twice.

Sources: AWS Lambda Developer Guide, "Types of metrics for Lambda functions", IteratorAge; AWS Lambda API Reference,
"UpdateEventSourceMapping" and "CreateEventSourceMapping".
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Any

from poller.model.arn import Arn
from poller.settings.table import in_comment

MARGIN_IN_SECONDS = 60
"""How much earlier than the iterator age says a mapping begins here: the metric has one value for each minute."""

PLAN = """\
# PLAN
#
# Before you begin: run `poller check`, and give the daemon the permissions that these commands print.
# `poller iam` leaves out disabled mappings, so it reads a copy of this file in which all mappings are enabled.
#   sed 's/^enabled = false$/enabled = true/' poller.toml > enabled.toml
#   poller iam -c enabled.toml
# Take over one mapping at a time. Each plan says what is delivered twice; nothing is left out."""

QUEUE = """\
{name}
  1. Set enabled = true in [mappings.{name}], and start the daemon or run `poller reload`.
     Both read the queue now. SQS gives each message to one of them, and keeps the order of message groups.
  2. aws lambda update-event-source-mapping --uuid {uuid} --no-enabled
  Delivered twice: only what SQS itself repeats.
  To go back: run the command of step 2 with --enabled, then set enabled = false here."""

STREAM = """\
{name}
  1. T=$(date +%s); aws lambda update-event-source-mapping --uuid {uuid} --no-enabled
     Wait until this prints Disabled:
     aws lambda get-event-source-mapping --uuid {uuid} --query State --output text
  2. Find the iterator age A, in seconds: the highest value of the last ten minutes before T, divided by 1000.
     aws cloudwatch get-metric-statistics --namespace AWS/Lambda --metric-name IteratorAge \\
       --dimensions Name=FunctionName,Value={function} --statistics Maximum --period 60 \\
       --start-time $(date -u -d @$((T - 600)) +%FT%TZ) --end-time $(date -u -d @$((T + 60)) +%FT%TZ)
     If it has no value, look further back: then the time of the last value stands for T.
  3. Set enabled = true in [mappings.{name}]. While the daemon is stopped:
     poller state set {name} $((T - A - {margin}))
  4. Start the daemon.
  Delivered twice: the records of the {margin} + A seconds before T, and batches that were not done at T.
  To go back: set enabled = false here, run `poller reload`, and note the time and poller_iterator_age_seconds.
{back}"""

BACK_TO_KINESIS = """\
     Delete the mapping on AWS and create it again with --starting-position AT_TIMESTAMP, at a time found as in step 3.
     Do not enable the old one: AWS kept its position, so it would deliver everything since T again."""

BACK_TO_A_TABLE = """\
     Then run the command of step 1 with --enabled. AWS kept its position, so it delivers everything since T again.
     A new mapping of a DynamoDB stream cannot begin at a time, only at TRIM_HORIZON or LATEST."""


def steps_for(name: str, mapping: Mapping[str, Any], source: Arn) -> str:
    """Return the steps as comments of TOML. `mapping` is AWS's description, and `name` its name in the file."""
    text = QUEUE if source.service == "sqs" else STREAM
    steps = text.format(
        name=name,
        uuid=quote(in_comment(mapping["UUID"])),
        function=quote(in_comment(str(mapping["FunctionArn"]).split(":")[6])),
        margin=MARGIN_IN_SECONDS,
        back=BACK_TO_KINESIS if source.service == "kinesis" else BACK_TO_A_TABLE,
    )
    return "\n".join(f"# {line}" for line in steps.split("\n"))
