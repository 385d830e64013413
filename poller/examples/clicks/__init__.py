"""Clicks: each record of a Kinesis stream is a click of a user, and `functions.py` writes down what it has seen."""
