"""Decisions about streams: which shard is read when, from which position, and what becomes of a batch that failed.

Pure, like all of `core/`. `core/queues/` does not import it, nor it that.
"""
