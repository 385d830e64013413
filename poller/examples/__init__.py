"""Functions to copy: what `poller demo` runs, and a place to begin with one's own.

Belongs here: handlers as a user writes them for AWS Lambda, with their data; they import nothing of poller.
Does not belong here: anything that poller itself needs.
Nobody imports them; settings files name them as handlers.

    signup/   a CSV of users, the function that stores them in a table, and the one that welcomes them by mail
    clicks/   the function that counts the clicks of a stream
    node/     a function for Node.js under AWS's own runtime client, with its settings file
"""
