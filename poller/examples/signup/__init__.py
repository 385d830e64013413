"""Sign-ups: each row of `users.csv` is sent to a queue, and `functions.py` stores it in a table."""
