"""The rules for SQS queues: what happens to messages in hand, in which order they are invoked, how many polls run, and
how long messages stay hidden.

All functions are pure, as everywhere in `core/`. `core/queues/`, `core/streams/` and `core/events/` do not import each
other.
"""
