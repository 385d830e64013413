"""What happens to an asynchronous event?  accept -> store -> take -> invoke -> (wait | end -> deliver -> remove).

mapping.py        takes events and runs all these steps for one function; begin here to follow an event
accepting.py      stores an event that a client or another function has sent
permits.py        decides how many events may be taken now
bytes_in_hand.py  limits the memory that the events in hand need
pace.py           takes events slowly while the function is throttled
claims.py         extends the claims of the events in hand, so that no other process takes these events
attempting.py     invokes the function with one event, as core/events/attempts.py decides
delivering.py     delivers an ended event to its destinations and to the dead-letter queue
settling.py       removes an event from its queue, or returns it to the queue with its changes
depth.py          reads how many events a queue stores
former.py         takes the events of queues that the settings no longer name for the function
orphans.py        finds events of functions that the settings no longer have
health.py         knows whether the event queues work, and whether the destinations accept ended events
"""
