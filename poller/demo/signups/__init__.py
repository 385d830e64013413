"""SIGN-UPS: two queues of users, a table that stores them, and a mail to each user from the table's stream.

Belongs here: everything that is about users, rows and mails. Only `scenes.py` imports it.

    part.py         what does this part of the tour do?
    story.py        which rows go into the queues, and what should happen to each?
    stage.py        how does the tour create, fill and read the queues and tables?
    accounting.py   do the queues' numbers add up?
    uploads.py      did each upload end as it should?
    mails.py        did every user get one mail?
    tables.py       what does a person see at the end?
    settings.toml   the functions and mappings
"""
