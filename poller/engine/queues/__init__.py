"""What happens to a message? permit -> receive -> filter -> batch -> invoke -> interpret -> delete.

mapping.py      runs all these steps for one mapping; begin here to follow a message
lookup.py       waits until the queue exists, and reads its visibility timeout
permits.py      decides when a poll may begin
groups.py       allows one delivery at a time for each message group
receiving.py    receives messages, and pauses if the queue fails
gathering.py    filters the messages and forms a batch
visibility.py   keeps the messages in hand invisible in the queue ("hidden") until they are done
delivering.py   carries out the steps of a delivery, as core/queues/delivery.py decides
invoking.py     invokes the function with one batch
finishing.py    deletes messages that are done, and makes the other messages visible again
releasing.py    returns the messages in hand to the queue at a stop
chunks.py       splits a call for many messages into calls with ten messages each
"""
