"""EXAMPLES: functions that a user can copy and change. `poller demo` runs those in Python.

Belongs here: handlers as a user writes them for AWS Lambda, with their data; they import nothing of poller.
Does not belong here: anything that poller itself needs.
No module imports the handlers; settings files name them.

    signup/   a CSV of users, a function that sends the rows of an uploaded CSV to queues, one that stores them in a
              table, and one that writes a mail to each new user
    clicks/   a function that writes down each click of a stream
    events/   events as services of AWS send them, and a function that says what it finds in each
    node/     a function for Node.js under AWS's own runtime client, with its settings file
"""
