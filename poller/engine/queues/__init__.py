"""THE WAY OF A MESSAGE: permit -> receive -> filter -> batch -> invoke -> interpret -> delete.

mapping.py      the whole of it; begin here to follow a message with a finger
permits.py      when a poll may start
groups.py       one batch at a time for each message group
gathering.py    receive, filter, batch
in_hand.py      a message in hand, and a batch of them
visibility.py   messages in hand stay hidden in the queue
delivering.py   a batch from its invocation to its end
invoking.py     one batch to its function, again while the function refuses it
deleting.py     messages that are done leave the queue
redelivering.py failed messages come again
releasing.py    messages in hand go back to the queue at a stop
chunks.py       SQS takes ten at a time
"""
