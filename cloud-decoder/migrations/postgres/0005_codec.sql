-- How the latents travelled ('plain', 'intra' or 'reference'), and the bytes that did; null for frames without latents,
-- from before it was noted, or whose row was made again from its object.
ALTER TABLE frames ADD COLUMN latents_travelled TEXT;
ALTER TABLE frames ADD COLUMN latents_wire_bytes BIGINT;
-- Of the bytes of latents, those that were coded alone and with a reference; and bytes that the codec saved.
ALTER TABLE traffic ADD COLUMN intra_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE traffic ADD COLUMN reference_bytes BIGINT NOT NULL DEFAULT 0;
ALTER TABLE traffic ADD COLUMN saved_bytes BIGINT NOT NULL DEFAULT 0;
