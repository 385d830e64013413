-- A state file as poller wrote it in format 3.
BEGIN IMMEDIATE;
CREATE TABLE checkpoint (
    mapping TEXT NOT NULL,
    stream_arn TEXT NOT NULL,
    shard_id TEXT NOT NULL,
    position TEXT NOT NULL,
    rank TEXT NOT NULL,         -- the order of ranks is the order of positions
    window_start INTEGER,
    window_end INTEGER,
    window_state TEXT,
    saved_at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    version INTEGER NOT NULL DEFAULT 1,     -- the same for all saves of one writer, larger for the next writer
    writer TEXT NOT NULL DEFAULT '',        -- the run that saved the row last; empty after a person's change
    PRIMARY KEY (mapping, stream_arn, shard_id),
    CHECK ((window_start IS NULL) = (window_end IS NULL) AND (window_start IS NULL) = (window_state IS NULL))
) WITHOUT ROWID;
CREATE TRIGGER checkpoint_never_moves_back BEFORE UPDATE ON checkpoint WHEN new.rank < old.rank
    BEGIN SELECT RAISE(ABORT, 'the checkpoint would move back'); END;
CREATE TABLE start_over (       -- positions that a person has set; a mapping uses them instead of starting_position
    mapping TEXT NOT NULL,
    stream_arn TEXT NOT NULL,
    position TEXT NOT NULL,
    PRIMARY KEY (mapping, stream_arn)
) WITHOUT ROWID;
CREATE TABLE pause (            -- the mappings that are paused
    mapping TEXT PRIMARY KEY NOT NULL
) WITHOUT ROWID;
PRAGMA application_id = 1349479532;
PRAGMA user_version = 3;
INSERT INTO checkpoint VALUES
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000000', 'TRIM_HORIZON', '0', NULL, NULL, NULL, 1700000000, 1, 'run 1'),
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000001', 'AT_TIMESTAMP 1767225600.25', '10001767225600.250000', NULL, NULL, NULL, 1700000001, 2, 'run 2'),
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000002', 'AT_SEQUENCE_NUMBER 0012', '2002120', NULL, NULL, NULL, 1700000002, 3, 'run 3'),
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000003', 'AFTER_SEQUENCE_NUMBER 9', '200191', 1767225600, 1767225660, '{"sum":"∑"}', 1700000003, 4, 'run 4'),
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000004', 'SHARD_END', '3', NULL, NULL, NULL, 1700000004, 5, 'run 5'),
    ('users', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000000', 'AFTER_SEQUENCE_NUMBER 7', '200171', NULL, NULL, NULL, 1700000005, 6, 'run 6');
INSERT INTO start_over VALUES ('users', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'AT_TIMESTAMP 12.5'), ('gone', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'LATEST');
INSERT INTO pause VALUES ('clicks'), ('orders');
COMMIT;
