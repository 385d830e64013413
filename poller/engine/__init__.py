"""THE WAITING: structured tasks that ask core what to do and call ports to do it.

    supervisor.py      mappings come and go: add, replace, remove, pause, resume; each starts again when it crashes
    queues/            the way of a message, from receive to delete
    streams/           the way of a record in a shard, from read to checkpoint
    source_health.py   is the source there, and what is wrong with it?
    source_pauses.py   how long is a failing source left alone?
    troubles.py        which operations fail now, of a source or of the store
    sharing.py         what several mappings use is opened once, and closed after its last user
    stop.py            the stages of a stop, as events

Belongs here: waiting, tasks, cancellation, the order of effects.
Does not belong here: rules of AWS (core/), wire formats (sources/, targets/), names of metrics (telemetry/).
It waits through anyio alone, so that the whole of it runs on a virtual clock in `tests/simulation/`.
"""
