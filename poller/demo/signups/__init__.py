"""SIGN-UPS: two queues of users, the table that they are stored in, and the mails that its stream brings about.

Belongs here: all that knows of users, rows and mails. Only `scenes.py` imports it.

    part.py         what is built, sent and looked at?
    story.py        which rows go in, and what should become of each?
    stage.py        which queues and tables are there, and what is in them?
    accounting.py   do the queues' numbers add up?
    mails.py        was every user welcomed, once?
    tables.py       how does it look?
    settings.toml   the functions and mappings
"""
