"""RESHARDING: the part `clicks`, while shards of its stream are split and merged.

Belongs here: what a split and a merge need in addition to `clicks/`. Only `scenes.py` imports it.

    part.py            when is which shard split or merged?
    accounting.py      was every parent drained before its children?
    kinesis_local.py   which emulator can split and merge shards?
    loopback.cjs       how does this emulator listen on the tour's socket?
"""
