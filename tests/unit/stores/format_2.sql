-- A state file as poller wrote it in format 2.
BEGIN IMMEDIATE;
CREATE TABLE checkpoint (
    mapping TEXT NOT NULL,
    stream_arn TEXT NOT NULL,
    shard_id TEXT NOT NULL,
    position TEXT NOT NULL,
    place TEXT NOT NULL,        -- sorts as the positions do
    window_start INTEGER,
    window_end INTEGER,
    window_state TEXT,
    saved_at INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
    PRIMARY KEY (mapping, stream_arn, shard_id),
    CHECK ((window_start IS NULL) = (window_end IS NULL) AND (window_start IS NULL) = (window_state IS NULL))
) WITHOUT ROWID;
CREATE TRIGGER checkpoint_never_moves_back BEFORE UPDATE ON checkpoint WHEN new.place < old.place
    BEGIN SELECT RAISE(ABORT, 'the checkpoint would move back'); END;
CREATE TABLE start_over (       -- by hand, in place of the mapping's starting_position
    mapping TEXT NOT NULL,
    stream_arn TEXT NOT NULL,
    position TEXT NOT NULL,
    PRIMARY KEY (mapping, stream_arn)
) WITHOUT ROWID;
PRAGMA application_id = 1349479532;
PRAGMA user_version = 2;
INSERT INTO checkpoint VALUES
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000000', 'TRIM_HORIZON', '0', NULL, NULL, NULL, 1700000000),
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000001', 'AT_TIMESTAMP 1767225600.25', '10001767225600.250000', NULL, NULL, NULL, 1700000001),
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000002', 'AT_SEQUENCE_NUMBER 0012', '2002120', NULL, NULL, NULL, 1700000002),
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000003', 'AFTER_SEQUENCE_NUMBER 9', '200191', 1767225600, 1767225660, '{"sum":"∑"}', 1700000003),
    ('clicks', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000004', 'SHARD_END', '3', NULL, NULL, NULL, 1700000004),
    ('users', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'shardId-000000000000', 'AFTER_SEQUENCE_NUMBER 7', '200171', NULL, NULL, NULL, 1700000005);
INSERT INTO start_over VALUES ('users', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'AT_TIMESTAMP 12.5'), ('gone', 'arn:aws:kinesis:eu-west-1:123456789012:stream/clicks', 'LATEST');
COMMIT;
