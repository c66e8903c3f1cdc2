-- Bytes of a frame's objects, and their sum for a camera; 0 for frames from before this version.
ALTER TABLE frames ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cameras ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
