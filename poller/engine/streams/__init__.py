"""THE WAY OF A STREAM: lineage -> read -> filter -> lane -> batch -> invoke -> interpret -> done -> checkpoint.

mapping.py      where the shards begin, and which may be read now
listing.py      which shards the stream has now
shards_in_hand.py which run may read a shard?
shard.py        one shard from a position to its end; begin here to follow a record with a finger
budget.py       how much may be read ahead
weighing.py     how many records a read asks for
lane.py         one batch after another, until each is done
gathering.py    when is a lane's next batch ready?
window.py       the tumbling window that a lane is in
discarding.py   how discarded records are reported
blocking.py     why a lane is blocked, and since when
checkpoints.py  when a position is stored
store_health.py whether the store works; failing calls are repeated
watching.py     the status of a stream mapping
"""
