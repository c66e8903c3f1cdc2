//! How each bit of a camera's latents has behaved over the stream: 4 bits of state for each.
//!
//! States 0 to 7 say that the bit is mostly 0, 8 to 15 that it is mostly 1; 0 and 15 are the surest. A bit that agrees
//! makes its state surer by one, the surer the more rarely, so that four bits remember some twenty frames; one that
//! differs makes it less sure by two, and the least sure change sides. So a bit whose value lies near its quantizer's
//! threshold, and flickers, is told from one that changes because something moved.

/// States of the bits of a frame, two in a byte, the first in the lower half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct History {
    states: Vec<u8>,
    /// Frames that changed the states.
    frames: u32,
}

/// A state of confidence `c` becomes surer in every `EVERY[c]`th frame.
const EVERY: [u32; 8] = [1, 1, 1, 2, 4, 4, 8, 8];
/// Confidence of a bit that was seen once.
const SEEN_ONCE: u8 = 2;
/// Confidence that a bit which differs costs.
const FALL: u8 = 2;

impl History {
    /// Bytes of the states of a frame with so many bytes of patches.
    pub(crate) const fn bytes(payload: usize) -> usize {
        payload * 4
    }

    /// The history that begins with a frame's patches.
    pub(crate) fn new(payload: &[u8]) -> Self {
        let mut states = Vec::with_capacity(Self::bytes(payload.len()));
        for byte in payload {
            let pair = |at: u8| first(byte >> at & 1) | first(byte >> (at + 1) & 1) << 4;
            states.extend([0, 2, 4, 6].map(pair));
        }
        Self { states, frames: 0 }
    }

    /// Changes the states by the patches of a frame.
    pub(crate) fn follow(&mut self, payload: &[u8]) {
        let mut next = [[0; 4]; 256];
        for (pair, next) in next.iter_mut().enumerate() {
            let (one, other) = (pair as u8 & 15, pair as u8 >> 4);
            for (bits, next) in next.iter_mut().enumerate() {
                let bits = bits as u8;
                *next = step(one, bits & 1, self.frames) | step(other, bits >> 1, self.frames) << 4;
            }
        }
        for (states, byte) in self.states.as_chunks_mut::<4>().0.iter_mut().zip(payload) {
            for (at, pair) in states.iter_mut().enumerate() {
                *pair = next[usize::from(*pair)][usize::from(byte >> (2 * at) & 3)];
            }
        }
        self.frames = self.frames.wrapping_add(1);
    }

    /// Cuts the states of each patch from those of `old` bytes to those of `new`, or begins further ones with those of
    /// `payload`, whose patches have `new` bytes.
    pub(crate) fn resize(&mut self, payload: &[u8], old: usize, new: usize) {
        let begun = Self::new(payload).states;
        let (old, new) = (Self::bytes(old), Self::bytes(new));
        let kept = old.min(new);
        let patches = self.states.chunks_exact(old).zip(begun.chunks_exact(new));
        let mut states = Vec::with_capacity(begun.len());
        for (old, begun) in patches {
            states.extend_from_slice(&old[..kept]);
            states.extend_from_slice(&begun[kept..]);
        }
        self.states = states;
    }

    /// Writes the states of the bits from bit `from` on, one in a byte.
    pub(crate) fn unpack(&self, from: usize, states: &mut [u8]) {
        let pairs = &self.states[from / 2..];
        for (states, pair) in states.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
            *states = [pair & 15, pair >> 4];
        }
    }
}

fn first(bit: u8) -> u8 {
    state(bit, SEEN_ONCE)
}

/// The state of a bit that is mostly `bit`.
fn state(bit: u8, confidence: u8) -> u8 {
    match bit {
        0 => 7 - confidence,
        _ => 8 + confidence,
    }
}

fn step(old: u8, bit: u8, frame: u32) -> u8 {
    let mostly = old >> 3;
    let confidence = if mostly == 1 { old - 8 } else { 7 - old };
    if bit == mostly {
        let surer = frame.is_multiple_of(EVERY[usize::from(confidence)]);
        return state(mostly, (confidence + u8::from(surer)).min(7));
    }
    match confidence.checked_sub(FALL) {
        Some(left) => state(mostly, left),
        None => state(bit, 0),
    }
}
