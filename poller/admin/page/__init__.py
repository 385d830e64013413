"""THE PAGE: what a person sees in a browser. Trouble comes first, and each trouble says what can be done.

    View ── render ──> HTML            a pure function; page.js asks for the page again and shows what has changed

    view.py        everything that the page shows, as one value; and what a reader may see and do
    document.py    the whole page, and its frame
    attention.py   the blocked shards and the mappings in trouble, with what can be done
    mappings.py    all mappings: search, filters, groups
    shards.py      the shards that are read, and their lanes
    functions.py   functions, their child processes and their last lines
    destinations.py  where batches and events are reported
    others.py      workers, asynchronous events, destinations, recent changes
    dialogs.py     small pages: a question before a discard, the login, a failed change, the settings
    positions.py   the positions of a mapping, the form that moves them, and the question before a move
    stuck.py       the stuck events of a function, their forms, and the question before a drop
    forms.py       the forms that change something
    markup.py      escaped text, times, tables
    picture.py     the small picture of the last 30 minutes
    page.css, page.js

Belongs here: words and HTML. Does not belong here: who may do what (../guard.py, ../sessions.py), making a change
(../acting.py).
The page works without page.js. It loads nothing from other hosts.
Taken from others: the states with their counts as filters (Oban Web), the lists that update in place without a jump,
and an action beside each line (River UI), how far each mapping is behind beside its name (Redpanda Console).
"""
