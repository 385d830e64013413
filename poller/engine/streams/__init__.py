"""What happens to a record? lineage -> lease -> read -> filter -> lane -> batch -> invoke -> interpret -> done.

mapping.py         runs one mapping: creates the row of each shard, and reads the shards that may be read, with a lease
rows.py            creates and deletes the rows of the mapping's shards in the table of leases
listing.py         lists the shards of the stream again and again
shard.py           reads one shard from its checkpoint to its end, under its lease; begin here to follow a record
in_hand.py         keeps the records in hand of a shard; they may pass from an old run to the next one
budget.py          limits how many bytes are read ahead
weighing.py        decides how many records one read asks for
lane.py            delivers one batch after another
gathering.py       decides when a lane's next batch is ready
window.py          keeps the tumbling window that is open in a lane
discarding.py      reports discarded records
blocking.py        knows why a lane is blocked, and since when
orders.py          gives a person's order to the blocked lane
tail.py            shows the records of a stream to a person, and stores nothing
watching.py        makes the status of a stream mapping

The worker of the process (engine/leases/) decides which shards this process reads. It also stores their checkpoints:
soon after they have moved, and at the latest when a shard goes to another worker.
"""
