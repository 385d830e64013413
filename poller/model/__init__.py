"""THE NOUNS: frozen values that all other packages use.

Belongs here: what a thing is, such as a mapping, a message, a shard or an outcome.
Does not belong here: what to do with it (core/), how to get it (sources/, targets/), how it is configured (settings/).
It imports no other package of poller.
"""
