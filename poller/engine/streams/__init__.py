"""What happens to a record? lineage -> read -> filter -> lane -> batch -> invoke -> interpret -> done -> checkpoint.

mapping.py         runs one mapping: stores where each shard begins, and reads the shards that may be read
listing.py         lists the shards of the stream again and again
shards_in_hand.py  allows one run at a time to read a shard
shard.py           reads one shard from a position to its end; begin here to follow a record
budget.py          limits how many bytes are read ahead
weighing.py        decides how many records one read asks for
lane.py            delivers one batch after another
gathering.py       decides when a lane's next batch is ready
window.py          keeps the tumbling window that is open in a lane
discarding.py      reports discarded records
blocking.py        knows why a lane is blocked, and since when
orders.py          gives a person's order to the blocked lane
checkpoints.py     decides when checkpoints are stored
positions.py       stores checkpoints, and notices that another process has stored a checkpoint of the same shard
store_health.py    repeats calls to the store that fail, and reports them
tail.py            shows the records of a stream to a person, and stores nothing
watching.py        makes the status of a stream mapping
"""
