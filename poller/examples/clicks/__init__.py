"""Clicks: each record of a Kinesis stream is a click of a user. `functions.py` writes each click into a file."""
