"""RESHARDING: the clicks, while shards are split and merged under the daemon's eyes.

Belongs here: what the clicks need besides, to be seen through a split and a merge. Only `scenes.py` imports it.

    part.py            when is which shard split or merged?
    accounting.py      was every parent drained before its children?
    kinesis_local.py   where does a Kinesis come from whose closed shards stay to be read?
    loopback.cjs       how is it kept on a socket of ours?
"""
