"""SQLITE: how this program opens and writes its SQLite files. This package does not know what they store.

    kind      opens a file, and tells what is wrong with it
    copies    keeps a copy of a file before its format changes
    writer    does all work with an open file in one thread, many jobs with one flush

The adapters that store something in a file may import this package.
"""
