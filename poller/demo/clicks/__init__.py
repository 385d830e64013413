"""CLICKS: a Kinesis stream of several shards, read in lanes. One record of it, the poison, always fails.

Belongs here: everything that is about clicks. Only `scenes.py` and `resharding/` import it.

    part.py         what does this part of the tour do?
    story.py        which clicks go into the stream, and which of them is the poison?
    stage.py        how does the tour create, fill and read the stream and the queue?
    trace.py        which clicks did the function see, and in which order?
    accounting.py   do the numbers add up, and did order hold?
    tables.py       what does a person see at the end?
    settings.toml   the function and the mapping
"""
