-- W3C traceparent of a frame's trace, empty when it has none.
ALTER TABLE frames ADD COLUMN traceparent TEXT NOT NULL DEFAULT '';
