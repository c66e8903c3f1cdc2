-- SHA-256 of the file of the decoder that made the pictures; null for pictures of a decoder from before it was kept.
ALTER TABLE frames ADD COLUMN decoder_id BYTEA;
