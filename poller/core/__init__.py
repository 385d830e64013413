"""THE DECISIONS: the rules of AWS as pure functions and small values; each file answers one question.

The same arguments always give the same answer.
The time (`now`), randomness (a `random.Random`) and a function that makes new ids are arguments.

Belongs here: the rules, in the words of AWS's documentation.
Does not belong here: doing what was decided (engine/, and the adapters that it calls), waiting, settings, logs.
Of poller, it imports only `model/` and `errors.py`.
"""
