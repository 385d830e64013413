"""THE WAY OF A MESSAGE: permit -> receive -> filter -> batch -> invoke -> interpret -> delete.

mapping.py      the whole of it; begin here to follow a message with a finger
gathering.py    receive, filter, batch
in_hand.py      a message in hand, and a batch of them
visibility.py   what is in hand stays hidden in the queue
delivering.py   a batch from its invocation to its end
invoking.py     one batch to its function, again while the function is busy
deleting.py     what is done goes from the queue
redelivering.py what failed comes again
releasing.py    what is not done is shown again at a stop
tens.py         SQS takes ten at a time
"""
