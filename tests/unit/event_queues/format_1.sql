-- A file of events as the first version of poller wrote it.
CREATE TABLE event (
    id INTEGER PRIMARY KEY,
    function TEXT NOT NULL,
    request_id TEXT NOT NULL,
    accepted_at INTEGER NOT NULL,       -- times are in microseconds since the epoch
    due_at INTEGER NOT NULL,
    free_at INTEGER NOT NULL,           -- the deadline of the claim, or due_at without a claim
    claim TEXT NOT NULL,                -- empty without a claim
    attempts INTEGER NOT NULL,
    postponements INTEGER NOT NULL,
    stuck TEXT NOT NULL,
    rest TEXT NOT NULL                  -- JSON (notation.py)
);
CREATE INDEX event_by_function ON event (function, stuck, free_at, due_at, accepted_at);
CREATE TABLE payload (id INTEGER PRIMARY KEY, payload BLOB NOT NULL);
CREATE TRIGGER payload_of_a_removed_event AFTER DELETE ON event
    BEGIN DELETE FROM payload WHERE id = old.id; END;
PRAGMA application_id = 1349477750;
PRAGMA user_version = 1;
INSERT INTO event VALUES (1, 'resize', '00000000-0000-4000-8000-000000000001', 1767225598000000, 1767225598000000, 1767225598000000, '', 0, 0, '', '{}');
INSERT INTO event VALUES (2, 'resize', '00000000-0000-4000-8000-000000000002', 1767225599000000, 1767225599000000, 1767225660000000, 'of the dead', 1, 0, '', '{"last":{"status_code":200}}');
INSERT INTO payload VALUES (1, CAST('{"n": 1}' AS BLOB));
INSERT INTO payload VALUES (2, CAST('{"n": 22}' AS BLOB));
