"""STORES: adapters that store stream positions, pauses and leases, in memory, in a file or in DynamoDB.

    memory         stores them in a dict, which ends with the process
    memory_leases  stores leases in a dict
    sqlite         stores them in a file, which survives any crash of the process
    writer         lets many saves share one flush of the file
    rows           reads and writes checkpoints in the file
    pauses         reads and writes in the file which mappings are paused
    schema         has the file's tables, and migrates a file of the previous format
    sqlite_file    opens the file
    ownership      lets one process own the file, or several processes share it
    by_hand        shows and changes the file for a person
    notation       tells which of two positions is later, as texts that a store can compare
    sqlite_leases  stores leases in a file that several processes of one host share
      lease_rows   reads and writes rows in the file
      lease_schema has the file's table, and migrates a file of the format without leases
      lease_file   opens the file, or reads it while others use it
    dynamodb_leases  stores leases in a table of DynamoDB, which workers on several hosts share
      dynamodb_rows  converts a row to and from an item
      dynamodb_items  reads and writes many items
      dynamodb_table  creates the table, or checks its key
    lease_pauses   stores pauses in any of these tables
    lease_by_hand  lets a person show and change any of these tables
      owners       waits for a sign of life of the owners of leases
    kcl_leases     stores the leases of one mapping in the table of an application of the Kinesis Client Library
      kcl_rows     converts a row to and from an item of that table
    routed_leases  keeps the shards of some mappings in such tables, and all other rows in the state

Belongs here: how checkpoints are stored, and the rule that no checkpoint moves back.
Does not belong here: when to save, and which records are done (engine/, core/streams/watermark.py).
Only the compositions and the command line import a store; no adapter knows another.
"""
