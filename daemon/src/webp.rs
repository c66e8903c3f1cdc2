//! What a WebP asks of memory, which its header does not tell.

/// Whether no lossy frame in a WebP file is larger than its canvas of `width` by `height` pixels. `image-webp` takes the memory
/// for such a frame, up to a gigabyte, before it compares the two.
///
/// Looks for the header of a key frame (RFC 6386, section 9.1) behind each name of a `VP8 ` chunk, wherever it stands.
pub fn frames_fit(file: &[u8], width: u32, height: u32) -> bool {
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    file.windows(18).all(|bytes| match bytes {
        // Name, length of the chunk, frame tag, start code, sides.
        [
            b'V',
            b'P',
            b'8',
            b' ',
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            0x9d,
            0x01,
            0x2a,
            a,
            b,
            c,
            d,
        ] => side(*a, *b) <= width && side(*c, *d) <= height,
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_larger_than_the_canvas_is_found_wherever_it_is() {
        let frame = |width: u16, height: u16| {
            let mut file = b"RIFF....WEBPVP8 ....\x30\x01\x00\x9d\x01\x2a".to_vec();
            file.extend(width.to_le_bytes());
            file.extend(height.to_le_bytes());
            file.extend(b"and its data");
            file
        };
        assert!(frames_fit(&frame(64, 48), 64, 48));
        // The two highest bits are a scale.
        assert!(frames_fit(&frame(64 | 0x4000, 48 | 0xc000), 64, 48));
        assert!(!frames_fit(&frame(65, 48), 64, 48));
        assert!(!frames_fit(&frame(64, 0x3fff), 64, 48));
        let both = [frame(64, 48), frame(16, 49)].concat();
        assert!(!frames_fit(&both, 64, 48));
        assert!(frames_fit(b"VP8 ....", 1, 1));
    }
}
