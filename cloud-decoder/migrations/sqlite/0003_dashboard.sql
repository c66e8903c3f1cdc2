-- What the camera sent, how the bits of a patch are set, and how long each stage in the cloud took.
ALTER TABLE frames ADD COLUMN source_bytes INTEGER NOT NULL DEFAULT 0; -- 0: the edge did not tell
ALTER TABLE frames ADD COLUMN latent_shares BLOB;                      -- one byte a bit of a patch, 255: always set
ALTER TABLE frames ADD COLUMN measure_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE frames ADD COLUMN store_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE frames ADD COLUMN finished_ms INTEGER NOT NULL DEFAULT 0;  -- when the pictures were stored; 0: not known

-- Of frames with latents whose edge told what the camera sent.
ALTER TABLE cameras ADD COLUMN source_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cameras ADD COLUMN sourced_bits INTEGER NOT NULL DEFAULT 0;

-- All that is averaged over time, so that it is read from the index alone.
CREATE INDEX frames_history ON frames (captured_ms, camera_id, program_id, latent_bits, width, height, psnr_db, ssim,
    ms_ssim, seam_ratio, latent_ones, encode_ns, decode_ns, finished_ms) WHERE latent_bits > 0;
CREATE INDEX frames_labels ON frames (seq) WHERE label_scores IS NOT NULL;
CREATE INDEX frames_camera_labels ON frames (camera_id, seq) WHERE label_scores IS NOT NULL;
CREATE INDEX frames_failed ON frames (seq) WHERE state = 'failed';
