"""Sign-ups: `uploads.py` sends the rows of a CSV to queues; `functions.py` stores them, and writes to new users."""
