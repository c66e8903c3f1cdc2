//! WebP: memory that a file would take, and files without metadata.

/// A WebP that consists of its pixels alone, cut at the end that its header gives. `None` for the extended format,
/// which has metadata.
pub(crate) fn plain(file: &[u8]) -> Option<&[u8]> {
    let kind = file.get(12..16)?;
    let length = u32::from_le_bytes(file.get(4..8)?.try_into().ok()?) as usize;
    let chunk = u32::from_le_bytes(file.get(16..20)?.try_into().ok()?) as usize;
    let alone = chunk.checked_add(12 + chunk % 2)? == length;
    if !alone || !matches!(kind, b"VP8 " | b"VP8L") {
        return None;
    }
    file.get(..length + 8)
}

/// Whether no lossy frame in a WebP file is larger than its canvas of `width` by `height` pixels. `image-webp`
/// allocates the memory for such a frame, up to a gigabyte, before it compares the two.
///
/// The header of a key frame (RFC 6386, section 9.1) is looked for behind each name of a `VP8 ` chunk, wherever it is.
pub(crate) fn frames_fit(file: &[u8], width: u32, height: u32) -> bool {
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    // Name of the chunk, its length, frame tag, start code, sides.
    file.windows(18).all(|bytes| {
        let is_frame = bytes.starts_with(b"VP8 ") && bytes[11..14] == [0x9d, 0x01, 0x2a];
        !is_frame || (side(bytes[14], bytes[15]) <= width && side(bytes[16], bytes[17]) <= height)
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
