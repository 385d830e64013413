"""THE WAY OF A STREAM: lineage -> read -> filter -> lane -> batch -> invoke -> interpret -> done -> checkpoint.

mapping.py      where the shards begin, and which may be read now
listing.py      which shards the stream has now
shard.py        one shard from a position to its end; begin here to follow a record with a finger
budget.py       how much may be read ahead
weighing.py     how many records are asked for
lane.py         one batch after another, until each is done
gathering.py    when is a lane's next batch ready?
window.py       the tumbling window that a lane is in
discarding.py   what is given up is reported
standstill.py   why a lane stands still, and since when
checkpoints.py  when a place is stored
watching.py     what may be seen of all this
"""
