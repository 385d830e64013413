"""Sign-ups: each row of `users.csv` goes into a queue. `functions.py` stores the rows, and writes to new users."""
