"""STORES: adapters that store leases with their positions, and pauses, in memory, in a file or in DynamoDB.

    memory_leases  stores leases in a dict, which ends with the process
    sqlite_leases  stores leases in a file that several processes of one host share
      lease_rows   reads and writes rows in the file
      lease_file   opens the file, or reads it while others use it
      schema       has the file's table, and migrates a file of the previous format
      ownership    lets the first process prepare the file, and then several processes share it
      row_kinds    tells whether this program can have written a row
    notation       tells which of two positions is later, as texts that a store can compare
    dynamodb_leases  stores leases in a table of DynamoDB, which workers on several hosts share
      dynamodb_rows  converts a row to and from an item
      dynamodb_items  reads and writes many items
      dynamodb_table  creates the table, or checks its key
    lease_pauses   stores pauses in any of these tables
    lease_by_hand  lets a person show and change any of these tables
      moving       says what a move of stored positions means for the records, and makes it
      move_orders  does so for a daemon
      owners       waits for a sign of life of the owners of leases
    kcl_leases     stores the leases of one mapping in the table of an application of the Kinesis Client Library
      kcl_rows     converts a row to and from an item of that table
    routed_leases  keeps the shards of some mappings in such tables, and all other rows in the state
    guarded_leases  keeps the failures of such a table from the worker, which reads the shards of all mappings

Belongs here: how checkpoints are stored, and the rule that no checkpoint moves back.
Does not belong here: when to save, and which records are done (engine/, core/streams/watermark.py).
"""
