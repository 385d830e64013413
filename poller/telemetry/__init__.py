"""TELEMETRY: how facts become log lines and metrics.

    telemetry.py           takes every fact, and does what its declaration (facts/) says
    subject.py             keeps the counts and the last log lines of one mapping or function
    lines.py               writes log lines
    repetitions.py         suppresses log lines that repeat
    labels.py              limits the values of labels
    series.py              shows the counters and histograms at each scrape
    gauges.py              declares the gauges of a present state
    collectors.py          reads these gauges at each scrape
    numbers.py             adds up the counts of several processes
    processes.py           adds up their CPU time and memory
    history.py             keeps the numbers of the last 30 minutes
    quantiles.py           computes quantiles from histograms
    logs.py                configures structlog
    whole_writes.py        writes whole lines to stderr
    reference.py           lists all metrics and log events

Belongs here: how a log line is written and how a series is kept.
Does not belong here: the names of metrics and log events (facts/), and any decision.
"""
