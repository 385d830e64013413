"""SOURCES: adapters that read what a mapping is bound to, one module for each service.

Belongs here: how a service's calls look, what its answers mean to `ports.py`.
Does not belong here: when to read, how much, and what becomes of a record (engine/, core/); signing, endpoints and the
translation of errors (aws/).
Only parts.py imports an adapter; no adapter knows another.
"""
