"""How facts become log lines and metrics.

`telemetry.py` takes every fact and follows its declaration (facts/); `subject.py` has what is counted of one mapping or
function, `lines.py` writes log lines, `repetitions.py` suppresses those that repeat, `labels.py` bounds the values of
labels; `series.py` and `gauges.py` answer a scrape; `logs.py` sets structlog up.

Belongs here: how a line is written and how a series is kept.
Does not belong here: the names of metrics and log events (facts/), and any decision.
Who imports it: app.py, admin/ and cli/; it imports facts/ and model/ only.
"""
