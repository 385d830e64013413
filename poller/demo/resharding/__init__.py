"""RESHARDING: the clicks, while shards of their stream are split and merged.

Belongs here: what `clicks/` lacks for a split and a merge. Only `scenes.py` imports it.

    part.py            when is which shard split or merged?
    accounting.py      was every parent drained before its children?
    kinesis_local.py   which emulator can split and merge shards?
    loopback.cjs       how does this emulator listen on the tour's socket?
"""
