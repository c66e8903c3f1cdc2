//! Splits a stream of bytes into JPEG files: motion JPEG as cameras send it in `multipart/x-mixed-replace`, as `ffmpeg`
//! writes it, or one file after the other. Bytes between two JPEGs are skipped.
//!
//! A JPEG ends with its end marker or where the next one begins, so a truncated JPEG does not swallow the next. Whether
//! a JPEG is complete is checked when it is decoded.

use bytes::{Buf as _, Bytes, BytesMut};

/// First bytes of a JPEG: its start marker, and the first byte of the next marker.
const START: [u8; 3] = [0xff, 0xd8, 0xff];

/// Bytes of the shortest useful picture.
const MIN_BYTES: usize = 100;

/// A JPEG that is longer than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a JPEG of more than {0} bytes came")]
pub struct TooLong(pub usize);

/// Splits a stream into JPEGs of a bounded size.
#[derive(Debug)]
pub struct Jpegs {
    buffer: BytesMut,
    /// Bytes of the JPEG at the front of the buffer that were walked over; 0 when there is none.
    at: usize,
    most: usize,
}

/// The end of a JPEG.
enum Walk {
    /// Not reached; the JPEG goes at least to here.
    On(usize),
    /// Here, behind its end marker.
    End(usize),
    /// Here at the latest, where the next JPEG begins.
    Next(usize),
}

impl Jpegs {
    /// Each JPEG has at most `most` bytes.
    pub fn new(most: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            at: 0,
            most,
        }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete JPEG, if there is one; to be called until there is none.
    ///
    /// # Errors
    /// A JPEG is too long; the rest of the stream cannot be used.
    pub fn take(&mut self) -> Result<Option<Bytes>, TooLong> {
        if self.at == 0 {
            let start = start_in(&self.buffer);
            // The last two bytes may begin a start marker.
            let skipped = start.unwrap_or(self.buffer.len().saturating_sub(2));
            self.buffer.advance(skipped);
            if start.is_none() {
                return Ok(None);
            }
            self.at = 2;
        }
        let walked = walk(&self.buffer, self.at);
        let (Walk::On(at) | Walk::End(at) | Walk::Next(at)) = walked;
        self.at = at;
        let of_it = match walked {
            Walk::On(_) => self.buffer.len(),
            Walk::End(at) | Walk::Next(at) => at,
        };
        if of_it > self.most {
            return Err(TooLong(self.most));
        }
        Ok(match walked {
            Walk::On(_) => None,
            Walk::End(at) => Some(self.split(at)),
            Walk::Next(at) => Some(self.split_cut(at)),
        })
    }

    /// The next JPEG of a stream that has ended, complete or not.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn take_rest(&mut self) -> Result<Option<Bytes>, TooLong> {
        if let Some(jpeg) = self.take()? {
            return Ok(Some(jpeg));
        }
        if self.at == 0 {
            return Ok(None);
        }
        // A segment that reaches beyond the end may contain the next JPEG.
        let ahead = self.buffer.get(self.at + 2..).unwrap_or_default();
        let next = start_in(ahead).map(|next| self.at + 2 + next);
        Ok(Some(self.split_cut(next.unwrap_or(self.buffer.len()))))
    }

    fn split(&mut self, at: usize) -> Bytes {
        self.at = 0;
        self.buffer.split_to(at).freeze()
    }

    /// Splits off a truncated JPEG, without the multipart lines behind it.
    fn split_cut(&mut self, at: usize) -> Bytes {
        let mut jpeg = self.split(at);
        jpeg.truncate(jpeg.len() - lines_behind(&jpeg));
        jpeg
    }
}

fn start_in(bytes: &[u8]) -> Option<usize> {
    bytes.windows(3).position(|three| three == START)
}

/// Number of bytes of a multipart boundary and its headers at the end of a truncated JPEG.
fn lines_behind(jpeg: &[u8]) -> usize {
    let text = |byte: &u8| matches!(byte, b'\t' | b'\r' | b'\n' | b' '..=b'~');
    let start = jpeg.iter().rposition(|byte| !text(byte));
    let lines = &jpeg[start.map_or(0, |at| at + 1)..];
    let line = lines.windows(3).position(|three| three == b"\n--");
    let boundary = line.map(|at| at + 1);
    let boundary = boundary.or_else(|| lines.windows(2).position(|two| two == b"--"));
    let Some(boundary) = boundary.filter(|&at| lines[at..].contains(&b'\n')) else {
        return 0;
    };
    let before = &lines[..boundary];
    let line_end = before
        .strip_suffix(b"\n")
        .map(|rest| rest.strip_suffix(b"\r").unwrap_or(rest));
    lines.len() - line_end.unwrap_or(before).len()
}

/// Walks over a JPEG's segments from `at` (ITU-T T.81, annex B).
fn walk(jpeg: &[u8], mut at: usize) -> Walk {
    // There is no start marker before this position.
    let mut searched = 0;
    while let Some(&[fill, marker]) = jpeg.get(at..).and_then(|rest| rest.first_chunk()) {
        match (fill, marker) {
            (0xff, 0xd9) => return Walk::End(at + 2),
            (0xff, 0xd8) => match jpeg.get(at + 2) {
                None => break,
                Some(0xff) => return Walk::Next(at),
                Some(_) => at += 2,
            },
            // A fill byte or entropy-coded data.
            (0xff, 0xff) | (0..0xff, _) => {
                let next = jpeg[at + 1..].iter().position(|&byte| byte == 0xff);
                at = next.map_or(jpeg.len(), |next| at + 1 + next);
            }
            // A stuffed byte or a restart marker inside a scan.
            (0xff, 0x00 | 0x01 | 0xd0..=0xd7) => at += 2,
            _ => {
                let Some(&length) = jpeg.get(at + 2..).and_then(|rest| rest.first_chunk()) else {
                    break;
                };
                let next = at + 2 + usize::from(u16::from_be_bytes(length)).max(2);
                // Two bytes more, which may belong to a start marker.
                if jpeg.len() < next + 2 {
                    break;
                }
                // Application segments may contain whole pictures. Any other segment with a start marker was truncated.
                let may_hold_one = matches!(marker, 0xe0..=0xef | 0xfe) && next - at > MIN_BYTES;
                // A marker follows a segment, or data follow the header of a scan. Otherwise the segment was truncated.
                let fits = marker == 0xda || jpeg[next] == 0xff;
                if !(may_hold_one && fits) && searched < next {
                    searched = searched.max(at + 2);
                    let mut inside = jpeg[searched..next + 2].windows(3);
                    if let Some(start) = inside.rposition(|three| three == START) {
                        return Walk::Next(searched + start);
                    }
                    searched = next;
                }
                at = if fits { next } else { at + 2 };
            }
        }
    }
    Walk::On(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A JPEG with a thumbnail in a segment, stuffed bytes and a restart marker.
    fn jpeg(filler: u8) -> Vec<u8> {
        let mut bytes = vec![0xff, 0xd8, 0xff, 0xe1, 0, 128];
        bytes.extend([filler; 120]);
        bytes.extend([0xff, 0xd8, 0xff, 0xd9, 1, 2]);
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
            let mut jpegs = Jpegs::new(256);
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

    /// All of a stream that has ended.
    fn all(stream: &[u8], size: usize) -> Vec<Vec<u8>> {
        let mut jpegs = Jpegs::new(1 << 16);
        let mut found = Vec::new();
        for piece in stream.chunks(size) {
            jpegs.push(piece);
            while let Some(frame) = jpegs.take().expect("short enough") {
                found.push(frame.to_vec());
            }
        }
        while let Some(frame) = jpegs.take_rest().expect("short enough") {
            found.push(frame.to_vec());
        }
        found
    }

    #[test]
    fn a_jpeg_that_was_cut_takes_no_other_with_it() {
        let [first, second, third] = [
            &include_bytes!("../tests/mjpeg/frame-0.jpg")[..],
            include_bytes!("../tests/mjpeg/frame-1.jpg"),
            include_bytes!("../tests/mjpeg/frame-2.jpg"),
        ];
        let lines = b"\r\n--frame\r\ncontent-type: image/jpeg\r\n\r\n";
        for between in [&lines[..], b""] {
            for cut in 3..second.len() - 2 {
                let cut = &second[..cut];
                let stream = [first, between, cut, between, third, between].concat();
                let found = all(&stream, 1 + cut.len() % 700);
                let at = cut.len();
                assert_eq!(found.len(), 3, "cut at {at}");
                assert_eq!([&found[0], &found[2]], [first, third], "cut at {at}");
                assert_eq!(found[1], cut, "cut at {at}");
            }
        }
    }

    #[test]
    fn without_an_end_marker_a_jpeg_ends_where_lines_or_the_stream_do() {
        let cut = |filler| jpeg(filler)[..jpeg(filler).len() - 2].to_vec();
        let lines = b"\r\n--frame\r\nContent-Length: 12\r\n\r\n";
        let stream = [&cut(1)[..], lines, &cut(2), &cut(3), b"\r\n--frame--\r\n"].concat();
        assert_eq!(all(&stream, 9), [cut(1), cut(2), cut(3)]);
        assert_eq!(all(&cut(1), 5), [cut(1)]);
        assert!(all(b"no picture", 3).is_empty());
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
