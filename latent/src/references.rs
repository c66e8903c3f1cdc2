//! The table of references: the last latents of each camera, program and size that went over one stream.
//!
//! Both ends of a stream hold one and change it in the order of the stream, as both ends of an HTTP/2 connection hold
//! HPACK's dynamic table (RFC 7541, section 2.3.2). So it needs no message of its own, and the rule by which it drops
//! entries is part of the format: an entry costs five times its patches' bytes, for their history takes four, and
//! [`ENTRY_BYTES`]; while the entries cost more than the table may hold, the one that was kept longest ago goes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{LatentFrame, history::History};

/// Bytes that an entry counts beside those of its patches.
pub const ENTRY_BYTES: usize = 512;

/// The last latents of each camera, program and size.
#[derive(Debug)]
pub struct References {
    max_bytes: usize,
    bytes: usize,
    /// Grows with each entry that is kept.
    clock: u64,
    entries: HashMap<Arc<Key>, Entry>,
    /// Entries by the time at which they were kept.
    ages: BTreeMap<u64, Arc<Key>>,
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
    reference: Reference,
    kept: u64,
}

/// The last frame of a camera, and how its bits have behaved before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub(crate) frame: LatentFrame,
    /// Of the frames before this one.
    pub(crate) history: History,
}

impl Reference {
    /// The first frame of a camera.
    pub fn new(frame: LatentFrame) -> Self {
        let history = History::new(&frame.payload);
        Self { frame, history }
    }

    /// Takes the next frame, of the same program and size.
    pub fn follow(&mut self, frame: LatentFrame) {
        let (old, new) = (self.frame.bits as usize / 8, frame.bits as usize / 8);
        self.history.follow(&self.frame.payload);
        if old != new {
            self.history.resize(&frame.payload, old, new);
        }
        self.frame = frame;
    }
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

    /// The last frame of a camera that has this program and size.
    pub fn find(
        &self,
        camera: &str,
        program: &[u8; 32],
        width: u32,
        height: u32,
    ) -> Option<&Reference> {
        let entry = self.entries.get(&Key::new(camera, program, width, height));
        entry.map(|entry| &entry.reference)
    }

    /// Keeps a frame in place of the one before. A frame that alone costs more than the table holds is not kept, nor is
    /// the one before it.
    pub fn keep(&mut self, camera: &str, frame: LatentFrame) {
        let key = Arc::new(Key::new(camera, &frame.program, frame.width, frame.height));
        let before = self.remove(&key);
        let cost = cost(&frame);
        if cost > self.max_bytes {
            return;
        }
        while self.bytes + cost > self.max_bytes {
            let Some(oldest) = self.ages.first_entry() else {
                break;
            };
            let oldest = oldest.get().clone();
            self.remove(&oldest);
        }
        let reference = match before {
            Some(mut reference) => {
                reference.follow(frame);
                reference
            }
            None => Reference::new(frame),
        };
        self.clock += 1;
        self.bytes += cost;
        self.ages.insert(self.clock, key.clone());
        let kept = self.clock;
        self.entries.insert(key, Entry { reference, kept });
    }

    fn remove(&mut self, key: &Key) -> Option<Reference> {
        let entry = self.entries.remove(key)?;
        self.ages.remove(&entry.kept);
        self.bytes -= cost(&entry.reference.frame);
        Some(entry.reference)
    }
}

/// Bytes that the entry of a frame counts: its patches, their history, and [`ENTRY_BYTES`].
fn cost(frame: &LatentFrame) -> usize {
    let patches = frame.payload.len();
    patches + History::bytes(patches) + ENTRY_BYTES
}
