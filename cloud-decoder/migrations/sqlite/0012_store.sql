-- Which store this catalogue belongs to; its objects carry the same id.
CREATE TABLE store (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    id     BLOB    NOT NULL,
    paired INTEGER NOT NULL DEFAULT 0 -- 1 once the objects carry the id
) STRICT;

-- SHA-256 of the frame's content; null for a frame from before.
ALTER TABLE frames ADD COLUMN digest BLOB;
-- Times that a decoding was begun and has not ended.
ALTER TABLE frames ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
-- Of these, times that it was the only one under way in a process that had decoded other frames.
ALTER TABLE frames ADD COLUMN deaths INTEGER NOT NULL DEFAULT 0;
