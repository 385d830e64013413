"""Sign-ups: each row of `users.csv` goes into a queue; `functions.py` stores it in a table, and welcomes new users."""
