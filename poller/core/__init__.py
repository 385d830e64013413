"""THE DECISIONS: the rules of AWS as pure functions and small values; each file answers one question.

Same arguments, same answer.
Whoever needs the time passes `now` in, whoever needs randomness passes a `random.Random`, and ids are made outside.

Belongs here: what must happen, said in the words of AWS's documentation.
Does not belong here: making it happen (engine/, and the adapters it calls), waiting, reading settings, logging.
Everyone below may import it; it imports `model/`, `errors.py`, the standard library without its clocks, and orjson.
"""
