"""Decisions about SQS queues: what becomes of messages in hand, which messages may be invoked together, how many polls
run, how long messages are hidden.

Pure, like all of `core/`. `core/streams/` does not import it, nor it that.
"""
