"""THE DECISIONS: the rules of AWS as pure functions and small values; each file answers one question.

The same arguments always give the same answer.
The time (`now`), randomness (a `random.Random`) and a function that makes new ids are arguments.

Belongs here: the rules, in the words of AWS's documentation.
Does not belong here: doing what was decided (engine/, and the adapters that it calls), waiting, settings, logs.
It may import `model/`, `errors.py`, orjson, and the standard library except its clocks.
Every package that comes after it in the list of `poller/__init__.py` may import it.
"""
