"""THE WAITING: structured tasks that ask core what to do and call ports to do it.

    daemon.py          every mapping side by side, each started again when it crashes; the stop in three stages
    queue_mapping.py   the way of a message: permit -> receive -> filter -> batch -> invoke -> interpret -> delete
    stream_mapping.py  the way of a stream: shards by lineage, a reader for each (shard.py), lanes (lane.py)
    permits.py         when a poll may start and when a batch may be invoked
    visibility.py      what is in hand stays hidden in the queue
    invoking.py        one batch to its function, again while the function is busy
    stop.py            the stages of a stop, as events

Belongs here: waiting, tasks, cancellation, the order of effects.
Does not belong here: rules of AWS (core/), wire formats (sources/, targets/), names of metrics (telemetry/).
It waits through anyio alone, so that the whole of it runs on a virtual clock in `tests/simulation/`.
"""
