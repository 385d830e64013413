"""THE FACTS: what happened, said once.

`facts/` has one frozen type for each thing that can happen; `recorder.py` is the one place that turns a fact into a
log line and a metric, so that their names cannot drift apart; `logs.py` sets structlog up;
`metrics.py` names the metrics; `gauges.py` reads gauges from statuses at a scrape; `repetitions.py` keeps lines back
that would repeat thousands of times a second.

Belongs here: names of metrics and log events, labels, levels.
Does not belong here: deciding anything from them.  No record body and no secret may stand in a fact.
Who imports it: everyone from aws/ downwards; it imports model/ only.
"""
