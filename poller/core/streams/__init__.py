"""The rules for streams: which shards are read, when and from which position, and what happens to a failed batch.

All functions are pure, as everywhere in `core/`. `core/queues/`, `core/streams/`, `core/events/` and `core/leases/` do
not import each other.
"""
