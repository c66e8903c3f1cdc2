-- Shares of set bits in a coarse grid over the frame, one byte each; see src/analysis/scene.rs.
ALTER TABLE frames ADD COLUMN scene_grid BYTEA;
-- Bytes on the uplink: the whole message, and of it the original and the label; 0 for frames from before this version.
ALTER TABLE frames ADD COLUMN wire_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE frames ADD COLUMN original_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE frames ADD COLUMN label_bytes BIGINT NOT NULL DEFAULT 0;
-- CRC-32C of the original's pixels as the edge node decoded them.
ALTER TABLE frames ADD COLUMN original_crc32c BIGINT;

-- What is known of a camera's usual scene and rhythm, and the last frame that it was learned from.
CREATE TABLE watches (
    camera_id   TEXT   PRIMARY KEY,
    judged_seq  BIGINT NOT NULL,
    expected_ms BIGINT,          -- usual longest time between two frames
    learned     BIGINT NOT NULL, -- whether its usual scene is known: 0 or 1
    model       BYTEA  NOT NULL
);

CREATE TABLE alarms (
    alarm_id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind            TEXT   NOT NULL,
    camera_id       TEXT   NOT NULL,
    begin_ms        BIGINT NOT NULL,
    end_ms          BIGINT, -- while it stands, NULL
    acknowledged_ms BIGINT,
    acknowledged_by TEXT,
    sentence        TEXT   NOT NULL
);

-- Of a camera, one alarm of a kind stands at a time.
CREATE UNIQUE INDEX alarms_standing ON alarms (kind, camera_id) WHERE end_ms IS NULL;
CREATE INDEX alarms_camera ON alarms (camera_id, alarm_id);

-- Bytes by day (since 1970-01-01, UTC), node and camera.
CREATE TABLE traffic (
    day            BIGINT NOT NULL,
    node_id        TEXT   NOT NULL,
    camera_id      TEXT   NOT NULL,
    frames         BIGINT NOT NULL,
    told_frames    BIGINT NOT NULL, -- of these, with their source_bytes
    source_bytes   BIGINT NOT NULL, -- as the camera sent them
    latent_bytes   BIGINT NOT NULL,
    label_bytes    BIGINT NOT NULL,
    original_bytes BIGINT NOT NULL,
    overhead_bytes BIGINT NOT NULL, -- the rest of the messages, and frames that were sent again
    PRIMARY KEY (day, node_id, camera_id)
);
