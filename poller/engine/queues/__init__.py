"""THE WAY OF A MESSAGE: permit -> receive -> filter -> batch -> invoke -> interpret -> delete.

mapping.py      the whole of it; begin here to follow a message with a finger
lookup.py       the queue is there, and hides its messages for so long
permits.py      when a poll may start
groups.py       one delivery at a time for each message group
gathering.py    receive, filter, batch
visibility.py   messages in hand stay hidden in the queue
delivering.py   what was gathered, step by step to its end, as core/queues/delivery.py decides
invoking.py     one batch to its function
finishing.py    messages that are done leave the queue, the others come again
releasing.py    messages in hand go back to the queue at a stop
chunks.py       SQS takes ten at a time
"""
