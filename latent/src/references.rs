//! The table of references: the last latents of each camera, program and size that went over one stream.
//!
//! Both ends of a stream hold one and change it in the order of the stream, as both ends of an HTTP/2 connection hold
//! HPACK's dynamic table (RFC 7541, section 2.3.2). So it needs no message of its own, and the rule by which it drops
//! entries is part of the format: an entry costs its patches' bytes and [`ENTRY_BYTES`], and while the entries cost more
//! than the table may hold, the one that was kept longest ago goes.

use std::collections::{BTreeMap, HashMap};

use crate::LatentFrame;

/// Bytes that an entry counts beside those of its patches.
pub const ENTRY_BYTES: usize = 256;

/// The last latents of each camera, program and size.
#[derive(Debug)]
pub struct References {
    max_bytes: usize,
    bytes: usize,
    /// Grows with each entry that is kept.
    clock: u64,
    entries: HashMap<Key, Entry>,
    /// Entries by the time at which they were kept.
    ages: BTreeMap<u64, Key>,
}

/// Frames with the same key refer to each other.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    camera: String,
    program: [u8; 32],
    width: u32,
    height: u32,
}

#[derive(Debug)]
struct Entry {
    frame: LatentFrame,
    kept: u64,
}

impl Key {
    fn new(camera: &str, program: &[u8; 32], width: u32, height: u32) -> Self {
        Self {
            camera: camera.to_owned(),
            program: *program,
            width,
            height,
        }
    }
}

impl References {
    /// An empty table that holds so many bytes at most.
    pub fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bytes: 0,
            clock: 0,
            entries: HashMap::new(),
            ages: BTreeMap::new(),
        }
    }

    /// Bytes that the entries cost.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The last frame of a camera that has this program and size.
    pub fn find(
        &self,
        camera: &str,
        program: &[u8; 32],
        width: u32,
        height: u32,
    ) -> Option<&LatentFrame> {
        let entry = self.entries.get(&Key::new(camera, program, width, height));
        entry.map(|entry| &entry.frame)
    }

    /// Keeps a frame in place of the one before. A frame that alone costs more than the table holds is not kept, nor is
    /// the one before it.
    pub fn keep(&mut self, camera: &str, frame: LatentFrame) {
        let key = Key::new(camera, &frame.program, frame.width, frame.height);
        self.remove(&key);
        let cost = cost(&frame);
        if cost > self.max_bytes {
            return;
        }
        while self.bytes + cost > self.max_bytes {
            let Some((_, oldest)) = self.ages.pop_first() else {
                break;
            };
            self.remove(&oldest);
        }
        self.clock += 1;
        self.bytes += cost;
        self.ages.insert(self.clock, key.clone());
        let kept = self.clock;
        self.entries.insert(key, Entry { frame, kept });
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.entries.remove(key) {
            self.ages.remove(&entry.kept);
            self.bytes -= cost(&entry.frame);
        }
    }
}

fn cost(frame: &LatentFrame) -> usize {
    frame.payload.len() + ENTRY_BYTES
}
