"""SQLITE: what every SQLite file of this program needs. It does not know what is stored.

    kind      opens a file, and tells what is wrong with one
    writer    does all work with an open file in one thread, many jobs with one flush

The adapters that store something in a file may import this package.
"""
