//! JPEGs out of a stream of bytes: motion JPEG as cameras send it in `multipart/x-mixed-replace`, as `ffmpeg` writes
//! it, or one file behind the other. What is between two JPEGs is skipped.

use bytes::{Buf as _, Bytes, BytesMut};

/// What a JPEG begins with: its start marker, and the first byte of the next.
const START: [u8; 3] = [0xff, 0xd8, 0xff];

/// A JPEG that does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a JPEG of more than {0} bytes came")]
pub struct TooLong(pub usize);

/// Takes JPEGs of a bounded size out of a stream.
#[derive(Debug)]
pub struct Jpegs {
    buffer: BytesMut,
    /// How far the JPEG at the front of the buffer has been looked at; 0 when there is none.
    at: usize,
    most: usize,
}

impl Jpegs {
    /// JPEGs have `most` bytes each at most.
    pub fn new(most: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            at: 0,
            most,
        }
    }

    /// Adds what came next in the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next JPEG, if it has come to its end; to be called until there is none.
    ///
    /// # Errors
    /// It is too long; the stream is of no use from there on.
    pub fn take(&mut self) -> Result<Option<Bytes>, TooLong> {
        if self.at == 0 {
            let start = self.buffer.windows(3).position(|three| three == START);
            // The last two bytes may be the first of a start.
            let skipped = start.unwrap_or(self.buffer.len().saturating_sub(2));
            self.buffer.advance(skipped);
            if start.is_none() {
                return Ok(None);
            }
            self.at = 2;
        }
        let (at, ended) = walk(&self.buffer, self.at);
        self.at = at;
        if self.buffer.len().min(at) > self.most {
            return Err(TooLong(self.most));
        }
        if !ended {
            return Ok(None);
        }
        self.at = 0;
        Ok(Some(self.buffer.split_to(at).freeze()))
    }
}

/// Walks over a JPEG's segments from `at`, and tells how far it came and whether to the end of the end-of-image marker
/// (ITU-T T.81, annex B).
pub(crate) fn walk(body: &[u8], mut at: usize) -> (usize, bool) {
    while let Some(&[fill, marker]) = body.get(at..at + 2).and_then(|two| two.first_chunk()) {
        match (fill, marker) {
            (0xff, 0xd9) => return (at + 2, true),
            // Fill byte, stuffed byte or restart marker inside a scan, or entropy-coded data.
            (0xff, 0xff) | (0..0xff, _) => at += 1,
            (0xff, 0x00 | 0x01 | 0xd0..=0xd8) => at += 2,
            _ => {
                let Some(length) = body.get(at + 2..at + 4) else {
                    break;
                };
                at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
        }
    }
    (at, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG with a thumbnail in a segment, stuffed bytes and a restart marker.
    fn jpeg(filler: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, 8, 0xff, 0xd8, 0xff, 0xd9, 1, 2];
        bytes.extend([
            0xff, 0xda, 0, 3, 0, filler, 0xff, 0x00, filler, 0xff, 0xd0, filler,
        ]);
        bytes.extend([0xff, 0xff, 0xd9]);
        bytes
    }

    #[test]
    fn jpegs_are_found_however_the_stream_is_cut() {
        let between = b"\r\n--frame\r\ncontent-type: image/jpeg\r\n\r\n";
        let stream = [
            between,
            &jpeg(1)[..],
            between,
            &jpeg(2)[..],
            &jpeg(3)[..],
            b"rest",
        ]
        .concat();
        for size in 1..=stream.len() {
            let mut jpegs = Jpegs::new(64);
            let mut found = Vec::new();
            for piece in stream.chunks(size) {
                jpegs.push(piece);
                while let Some(frame) = jpegs.take().expect("short enough") {
                    found.push(frame.to_vec());
                }
            }
            assert_eq!(found, [jpeg(1), jpeg(2), jpeg(3)], "pieces of {size}");
        }
    }

    #[test]
    fn what_has_no_end_is_refused_and_what_is_none_is_not_kept() {
        let mut jpegs = Jpegs::new(64);
        jpegs.push(&START);
        jpegs.push(&[7; 60]);
        assert_eq!(jpegs.take(), Ok(None));
        jpegs.push(&[7; 60]);
        assert_eq!(jpegs.take(), Err(TooLong(64)));
        let mut jpegs = Jpegs::new(64);
        jpegs.push(&[7; 10_000]);
        assert_eq!(jpegs.take(), Ok(None));
        assert_eq!(jpegs.buffer.len(), 2);
    }
}
