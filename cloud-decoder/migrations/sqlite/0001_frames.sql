CREATE TABLE frames (
    seq              INTEGER PRIMARY KEY AUTOINCREMENT, -- order of arrival, the key of paging
    frame_id         BLOB    NOT NULL UNIQUE,
    node_id          TEXT    NOT NULL,
    camera_id        TEXT    NOT NULL,
    captured_ms      INTEGER NOT NULL,
    received_ms      INTEGER NOT NULL,
    width            INTEGER NOT NULL,
    height           INTEGER NOT NULL,
    source_format    TEXT    NOT NULL,
    state            TEXT    NOT NULL CHECK (state IN ('queued', 'decoded', 'labelled', 'failed')),
    attempts         INTEGER NOT NULL DEFAULT 0,
    not_before_ms    INTEGER NOT NULL DEFAULT 0, -- a queued row may be claimed from here on
    failure          TEXT    NOT NULL DEFAULT '',
    latent_bits      INTEGER NOT NULL,
    latent_ones      REAL,                       -- share of set bits in the latents
    program_id       BLOB,
    label_program_id BLOB,
    label_scores     TEXT,                       -- JSON [{"label", "score"}]
    original_type    TEXT,
    encode_ns        INTEGER NOT NULL,
    decode_ns        INTEGER NOT NULL DEFAULT 0,
    psnr_db          REAL,
    ssim             REAL,
    ms_ssim          REAL,
    seam_ratio       REAL,
    original_seam_ratio REAL
) STRICT;

CREATE INDEX frames_queue ON frames (seq) WHERE state = 'queued';
CREATE INDEX frames_camera ON frames (camera_id, seq);

-- Running sums per camera, kept in the transactions that change frames, so that totals never scan.
CREATE TABLE cameras (
    camera_id   TEXT    PRIMARY KEY,
    node_id     TEXT    NOT NULL,
    frames      INTEGER NOT NULL,
    decoded     INTEGER NOT NULL DEFAULT 0,
    labelled    INTEGER NOT NULL DEFAULT 0,
    failed      INTEGER NOT NULL DEFAULT 0,
    pixels      INTEGER NOT NULL, -- of frames with latents
    latent_bits INTEGER NOT NULL,
    measured    INTEGER NOT NULL DEFAULT 0, -- decoded frames with a finite PSNR
    psnr_sum    REAL    NOT NULL DEFAULT 0,
    last_decoded BLOB,            -- frame id
    last_seq    INTEGER NOT NULL,
    last_received_ms INTEGER NOT NULL
) STRICT;
