//! The way through the bits of a frame: patch after patch, row after row, bit after bit.

use crate::{
    LatentFrame, PATCH,
    contexts::{Contexts, Mode, Plane, Surroundings, restless},
    prior::{Place, Prior},
    references::Reference,
};

/// Gives or takes the bits of a frame, in their order.
pub(crate) trait Visitor {
    /// The next bit, for which there are these contexts.
    fn bit(&mut self, mode: Mode, place: usize, statistics: &Place, contexts: &Contexts) -> u8;

    /// Whether to go on; asked before each patch.
    fn goes_on(&mut self) -> bool;

    /// A patch has ended, with these surroundings.
    fn ends(&mut self, _around: &Surroundings) {}
}

/// Size of a frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    columns: usize,
    rows: usize,
    bits: usize,
}

/// Bits of one row of patches, one in a byte.
struct Row {
    bits: Vec<u8>,
    /// Whether each bit differs from the one before.
    changed: Vec<u8>,
    /// Changed bits of each patch.
    changes: Vec<u16>,
}

/// A walk over the patches of a frame.
struct Walk<'a> {
    prior: &'a Prior,
    shape: Shape,
    reference: Option<&'a Reference>,
    around: Surroundings,
    above: Row,
    current: Row,
}

impl Shape {
    /// That of a frame of a valid size.
    pub(crate) fn new(width: u32, height: u32, bits: u32) -> Self {
        Self {
            columns: width.div_ceil(PATCH) as usize,
            rows: height.div_ceil(PATCH) as usize,
            bits: bits as usize,
        }
    }

    /// Bytes of all patches.
    pub(crate) fn bytes(&self) -> usize {
        self.columns * self.rows * self.bits / 8
    }
}

/// Takes a visitor over all bits of a frame, and returns the patches that it gave; fewer if it did not go on.
pub(crate) fn walk(
    prior: &Prior,
    shape: Shape,
    reference: Option<&Reference>,
    visitor: &mut impl Visitor,
) -> Vec<u8> {
    let all = prior.bits() as usize;
    let row = || Row {
        bits: vec![0; shape.columns * all],
        changed: vec![0; shape.columns * all],
        changes: vec![0; shape.columns],
    };
    let walk = Walk {
        prior,
        shape,
        reference,
        around: Surroundings::new(all),
        above: row(),
        current: row(),
    };
    walk.run(visitor)
}

impl Walk<'_> {
    fn run(mut self, visitor: &mut impl Visitor) -> Vec<u8> {
        // Grows as bits come, so that a header alone takes no memory.
        let mut payload = Vec::new();
        for y in 0..self.shape.rows {
            for x in 0..self.shape.columns {
                if !visitor.goes_on() {
                    return payload;
                }
                self.surround(x, y);
                self.patch(visitor, &mut payload);
                visitor.ends(&self.around);
                self.keep(x);
            }
            std::mem::swap(&mut self.above, &mut self.current);
        }
        payload
    }

    /// Sets the planes around a patch. In place of a patch outside of the frame stands the nearest of those that are
    /// known: for one on the left the one above, for others on the right or above the one above or on the left.
    fn surround(&mut self, x: usize, y: usize) {
        let left = match (x, y) {
            (0, 0) => None,
            (0, _) => Some((&self.above, 0)),
            _ => Some((&self.current, x - 1)),
        };
        let above = if y > 0 { Some((&self.above, x)) } else { left };
        let above_left = if x > 0 && y > 0 {
            Some((&self.above, x - 1))
        } else {
            above
        };
        let right = x + 1 < self.shape.columns;
        let above_right = if right && y > 0 {
            Some((&self.above, x + 1))
        } else {
            above
        };
        let n = self.prior.bits() as usize;
        let around = &mut self.around;
        for (plane, from) in [
            (Plane::Left, left),
            (Plane::Above, above),
            (Plane::AboveLeft, above_left),
            (Plane::AboveRight, above_right),
        ] {
            copy(
                around.plane(plane),
                from.map(|(row, at)| &row.bits[at * n..]),
            );
        }
        if let Some(reference) = self.reference {
            copy(
                around.plane(Plane::LeftChanged),
                left.map(|(row, at)| &row.changed[at * n..]),
            );
            copy(
                around.plane(Plane::AboveChanged),
                above.map(|(row, at)| &row.changed[at * n..]),
            );
            let known = reference.frame.bits as usize;
            let start = (y * self.shape.columns + x) * known;
            let bytes = &reference.frame.payload[start / 8..][..known / 8];
            unpack(bytes, around.plane(Plane::Before));
            reference
                .history
                .unpack(start, &mut around.history[..known]);
            around.set_history();
            let mut changes = 0;
            if x > 0 {
                changes += u32::from(self.current.changes[x - 1]);
            }
            if y > 0 {
                let beside = if right { x + 1 } else { x };
                changes += u32::from(self.above.changes[x]) + u32::from(self.above.changes[beside]);
            }
            around.restless = restless(changes);
        }
        around.begin();
    }

    /// Visits the bits of a patch.
    fn patch(&mut self, visitor: &mut impl Visitor, payload: &mut Vec<u8>) {
        let known = self
            .reference
            .map_or(0, |reference| reference.frame.bits as usize);
        let known = known.min(self.shape.bits);
        for first in (0..self.shape.bits).step_by(8) {
            let mode = if first < known {
                Mode::Inter
            } else {
                Mode::Intra
            };
            let places = &self.prior.statistics(mode).places;
            let mut byte = 0;
            for k in first..first + 8 {
                let place = self.around.place(k);
                let statistics = &places[place];
                let contexts = self.around.contexts(mode, k, &statistics.names);
                let bit = visitor.bit(mode, place, statistics, &contexts);
                self.around.take(mode, k, bit);
                byte |= bit << (k - first);
            }
            payload.push(byte);
        }
    }

    /// Keeps a patch for its neighbours.
    fn keep(&mut self, x: usize) {
        let n = self.prior.bits() as usize;
        let coded = self.shape.bits;
        let (from, until) = (x * n, x * n + coded);
        self.current.bits[from..until].copy_from_slice(&self.around.plane(Plane::Own)[..coded]);
        self.current.changed[from..until]
            .copy_from_slice(&self.around.plane(Plane::Changed)[..coded]);
        self.current.changes[x] = self.around.changes;
    }
}

fn copy(plane: &mut [u8], from: Option<&[u8]>) {
    match from {
        Some(bits) => plane.copy_from_slice(&bits[..plane.len()]),
        None => plane.fill(0),
    }
}

/// Writes each bit of `bytes` as a byte.
fn unpack(bytes: &[u8], plane: &mut [u8]) {
    for (bits, byte) in plane.as_chunks_mut::<8>().0.iter_mut().zip(bytes) {
        *bits = std::array::from_fn(|k| byte >> k & 1);
    }
}

impl LatentFrame {
    /// The shape of a valid frame.
    pub(crate) fn shape(&self) -> Shape {
        Shape::new(self.width, self.height, self.bits)
    }
}
