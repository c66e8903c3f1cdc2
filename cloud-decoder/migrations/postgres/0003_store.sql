-- Which store this catalogue belongs to; its objects carry the same id.
CREATE TABLE store (
    one    BIGINT  PRIMARY KEY CHECK (one = 1),
    id     BYTEA   NOT NULL,
    paired BIGINT  NOT NULL DEFAULT 0 -- 1 once the objects carry the id
);

-- SHA-256 of the frame's content; null for a frame from before.
ALTER TABLE frames ADD COLUMN digest BYTEA;
-- Times that a decoding was begun and has not ended.
ALTER TABLE frames ADD COLUMN begun BIGINT NOT NULL DEFAULT 0;
-- Of these, times that it was the only one under way in a process that had decoded other frames.
ALTER TABLE frames ADD COLUMN deaths BIGINT NOT NULL DEFAULT 0;
