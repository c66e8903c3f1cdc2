-- The catalogue as in SQLite, with what several processes need.
CREATE TABLE frames (
    seq              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- order of arrival, the key of paging
    frame_id         BYTEA  NOT NULL UNIQUE,
    node_id          TEXT   NOT NULL,
    camera_id        TEXT   NOT NULL,
    captured_ms      BIGINT NOT NULL,
    received_ms      BIGINT NOT NULL,
    width            BIGINT NOT NULL,
    height           BIGINT NOT NULL,
    source_format    TEXT   NOT NULL,
    source_bytes     BIGINT NOT NULL, -- 0: the edge did not tell
    state            TEXT   NOT NULL CHECK (state IN ('queued', 'decoded', 'labelled', 'failed')),
    attempts         BIGINT NOT NULL DEFAULT 0,
    offered_ms       BIGINT NOT NULL, -- when the decode queue was last given the frame, or is about to be
    failure          TEXT   NOT NULL DEFAULT '',
    latent_bits      BIGINT NOT NULL,
    latent_ones      DOUBLE PRECISION, -- share of set bits in the latents
    latent_shares    BYTEA,            -- one byte a bit of a patch, 255: always set
    bytes            BIGINT NOT NULL,  -- of its objects
    program_id       BYTEA,
    label_program_id BYTEA,
    label_scores     TEXT,             -- JSON [{"label", "score"}]
    original_type    TEXT,
    traceparent      TEXT   NOT NULL,
    encode_ns        BIGINT NOT NULL,
    decode_ns        BIGINT NOT NULL DEFAULT 0,
    measure_ns       BIGINT NOT NULL DEFAULT 0,
    store_ns         BIGINT NOT NULL DEFAULT 0,
    finished_ms      BIGINT NOT NULL DEFAULT 0, -- when the pictures were stored; 0: not known
    psnr_db          DOUBLE PRECISION,
    ssim             DOUBLE PRECISION,
    ms_ssim          DOUBLE PRECISION,
    seam_ratio       DOUBLE PRECISION,
    original_seam_ratio DOUBLE PRECISION
);

CREATE INDEX frames_queue ON frames (seq) WHERE state = 'queued';
CREATE INDEX frames_offered ON frames (offered_ms) WHERE state = 'queued';
CREATE INDEX frames_failed ON frames (seq) WHERE state = 'failed';
CREATE INDEX frames_camera ON frames (camera_id, seq);
CREATE INDEX frames_labels ON frames (seq) WHERE label_scores IS NOT NULL;
CREATE INDEX frames_camera_labels ON frames (camera_id, seq) WHERE label_scores IS NOT NULL;
CREATE INDEX frames_history ON frames (captured_ms) WHERE latent_bits > 0;

-- Running sums per camera, kept in the transactions that change frames, so that totals never scan.
CREATE TABLE cameras (
    camera_id    TEXT   PRIMARY KEY,
    node_id      TEXT   NOT NULL,
    frames       BIGINT NOT NULL,
    decoded      BIGINT NOT NULL DEFAULT 0,
    labelled     BIGINT NOT NULL DEFAULT 0,
    failed       BIGINT NOT NULL DEFAULT 0,
    pixels       BIGINT NOT NULL, -- of frames with latents
    latent_bits  BIGINT NOT NULL,
    bytes        BIGINT NOT NULL,
    source_bytes BIGINT NOT NULL, -- of frames with latents whose edge told
    sourced_bits BIGINT NOT NULL,
    measured     BIGINT NOT NULL DEFAULT 0, -- decoded frames with a finite PSNR
    psnr_sum     DOUBLE PRECISION NOT NULL DEFAULT 0,
    last_decoded BYTEA,           -- frame id
    last_seq     BIGINT NOT NULL,
    last_received_ms BIGINT NOT NULL
) WITH (fillfactor = 50); -- room to change a row in place, which every frame does
