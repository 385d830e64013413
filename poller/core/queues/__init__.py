"""The rules for SQS queues: what happens to messages in hand, in which order they are invoked, how many polls run, and
how long messages stay hidden.

All functions are pure, as everywhere in `core/`. `core/queues/` and `core/streams/` do not import each other.
"""
