"""CLICKS: a Kinesis stream of several shards, read in lanes, with one poison record in it.

Belongs here: all that knows of clicks. Only `scenes.py` and `resharding/` import it.

    part.py         what is built, sent and looked at?
    story.py        which clicks go in, and which of them is poison?
    stage.py        which stream and queue are there, and what is in them?
    trace.py        what did the function see, in its own words?
    accounting.py   do the numbers add up, and did order hold?
    tables.py       how does it look?
    settings.toml   the function and the mapping
"""
