-- Frames on their way to the cloud, oldest first. The payload is an EncodedFrame message.
CREATE TABLE spool (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    frame_id   BLOB    NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL,
    crc32c     INTEGER NOT NULL,
    payload    BLOB    NOT NULL
) STRICT;

-- Frames that will never be delivered as they are, for a person to look at.
CREATE TABLE quarantine (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    frame_id   BLOB    NOT NULL,
    created_ms INTEGER NOT NULL,
    reason     TEXT    NOT NULL,
    payload    BLOB    NOT NULL
) STRICT;

-- What became of frames that left the spool.
CREATE TABLE history (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    frame_id BLOB    NOT NULL UNIQUE,
    state    TEXT    NOT NULL,
    reason   TEXT
) STRICT;

-- Rewritten to find out whether the file can be written.
CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), at_ms INTEGER NOT NULL) STRICT;
INSERT INTO probe VALUES (1, 0);
