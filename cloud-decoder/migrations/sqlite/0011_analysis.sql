-- Shares of set bits in a coarse grid over the frame, one byte each; see src/analysis/scene.rs.
ALTER TABLE frames ADD COLUMN scene_grid BLOB;
-- Bytes on the uplink: the whole message, and of it the original and the label; 0 for frames from before this version.
ALTER TABLE frames ADD COLUMN wire_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE frames ADD COLUMN original_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE frames ADD COLUMN label_bytes INTEGER NOT NULL DEFAULT 0;
-- CRC-32C of the original's pixels as the edge node decoded them.
ALTER TABLE frames ADD COLUMN original_crc32c INTEGER;

-- Queued frames that came within a minute of their capture; see claim() in src/catalogue/sqlite/mod.rs.
CREATE INDEX frames_live ON frames (seq) WHERE state = 'queued' AND received_ms - captured_ms <= 60000;

-- What is known of a camera's usual scene and rhythm, and the last frame that it was learned from.
CREATE TABLE watches (
    camera_id   TEXT    PRIMARY KEY,
    judged_seq  INTEGER NOT NULL,
    expected_ms INTEGER,          -- usual longest time between two frames
    learned     INTEGER NOT NULL, -- whether its usual scene is known: 0 or 1
    model       BLOB    NOT NULL
) STRICT;

CREATE TABLE alarms (
    alarm_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    kind            TEXT    NOT NULL,
    camera_id       TEXT    NOT NULL,
    begin_ms        INTEGER NOT NULL,
    end_ms          INTEGER, -- while it stands, NULL
    acknowledged_ms INTEGER,
    acknowledged_by TEXT,
    sentence        TEXT    NOT NULL
) STRICT;

-- Of a camera, one alarm of a kind stands at a time.
CREATE UNIQUE INDEX alarms_standing ON alarms (kind, camera_id) WHERE end_ms IS NULL;
CREATE INDEX alarms_camera ON alarms (camera_id, alarm_id);

-- Bytes by day (since 1970-01-01, UTC), node and camera.
CREATE TABLE traffic (
    day            INTEGER NOT NULL,
    node_id        TEXT    NOT NULL,
    camera_id      TEXT    NOT NULL,
    frames         INTEGER NOT NULL,
    told_frames    INTEGER NOT NULL, -- of these, with their source_bytes
    source_bytes   INTEGER NOT NULL, -- as the camera sent them
    latent_bytes   INTEGER NOT NULL,
    label_bytes    INTEGER NOT NULL,
    original_bytes INTEGER NOT NULL,
    overhead_bytes INTEGER NOT NULL, -- the rest of the messages, and frames that were sent again
    PRIMARY KEY (day, node_id, camera_id)
) STRICT;
