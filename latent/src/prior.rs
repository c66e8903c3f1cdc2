//! Priors: the statistics of one program's latents, fitted beforehand, with which the codec predicts bits.
//!
//! # Layout
//!
//! Little-endian. A prior describes latents of `n` bits a patch. It has a place for each class of patches, which the
//! first bit tells, and each bit: place `class * n + k`.
//!
//! | bytes   | field   | content                                                                             |
//! |---------|---------|-------------------------------------------------------------------------------------|
//! | 4       | magic   | `PWP1`                                                                              |
//! | 32      | program | id of the program that makes the latents                                            |
//! | 2       | bits    | n, 8 to 4096, multiple of 8                                                         |
//!
//! and then twice, for frames alone and for frames with one before:
//!
//! | bytes   | field   | content                                                                             |
//! |---------|---------|-------------------------------------------------------------------------------------|
//! | 2048    | shared  | 128 sets of 8 weights, i16                                                          |
//! | 2n * 938 | places | for each: 3 * 7 bits of contexts, u16; 6 * 128 logits, i8; 8 sets of 8 weights, i16 |
//!
//! Weights are in 4,096ths, logits in 16ths of a natural unit. The bits of a context are numbered
//! `plane * n + k`, see `contexts.rs` for the planes.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::{
    LatentFrame, MAX_BITS,
    contexts::{CELLS, INPUTS, Mode, NAMED, Names, OWN_SETS, PLANES, SELECTED, SHARED_SETS},
};

const MAGIC: &[u8; 4] = b"PWP1";
/// Inputs of a mix: the contexts, one that is always the same, and one that is 0 and makes eight of them.
pub(crate) const LANES: usize = 8;
const SHARED_BYTES: usize = SHARED_SETS * LANES * 2;
const PLACE_BYTES: usize = SELECTED * NAMED * 2 + INPUTS * CELLS + OWN_SETS * LANES * 2;

/// Weights of a mix.
pub(crate) type Weights = [i16; LANES];

/// The first bytes of the SHA-256 of a prior's file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PriorId(pub [u8; 8]);

/// The statistics of one program's latents.
#[derive(Clone, PartialEq, Eq)]
pub struct Prior {
    id: PriorId,
    program: [u8; 32],
    bits: u32,
    pub(crate) intra: Statistics,
    pub(crate) inter: Statistics,
}

/// The statistics of frames alone, or of those with one before.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Statistics {
    /// Weights with which a frame begins.
    pub(crate) shared: Vec<Weights>,
    pub(crate) places: Vec<Place>,
}

/// The statistics of one bit in one class of patches.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) names: Names,
    /// Logits by the context.
    pub(crate) cells: [[i8; CELLS]; INPUTS],
    pub(crate) weights: [Weights; OWN_SETS],
}

/// Why a file is not a prior.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PriorError {
    /// Does not start with `PWP1`.
    #[error("not a prior of the latent codec: it does not start with \"PWP1\"")]
    Magic,
    /// Bits a patch out of range.
    #[error("a prior of {0} bits a patch is outside 8 to {MAX_BITS}, multiples of 8")]
    Bits(u32),
    /// Not of the length that it needs.
    #[error("a prior of {actual} bytes, and {expected} are needed")]
    Length {
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// A context of a bit that no plane has.
    #[error("a prior whose contexts name bit {0}, which no plane has")]
    Name(u16),
}

impl Prior {
    /// Reads a prior's file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_bytes(file: &[u8]) -> Result<Self, PriorError> {
        let mut rest = file.strip_prefix(MAGIC).ok_or(PriorError::Magic)?;
        let head = take::<34>(&mut rest).ok_or(PriorError::Length {
            expected: MAGIC.len() + 34,
            actual: file.len(),
        })?;
        let bits = u32::from(u16::from_le_bytes([head[32], head[33]]));
        if !(8..=MAX_BITS).contains(&bits) || !bits.is_multiple_of(8) {
            return Err(PriorError::Bits(bits));
        }
        let statistics = SHARED_BYTES + 2 * bits as usize * PLACE_BYTES;
        if rest.len() != 2 * statistics {
            return Err(PriorError::Length {
                expected: file.len() - rest.len() + 2 * statistics,
                actual: file.len(),
            });
        }
        let mut program = [0; 32];
        program.copy_from_slice(&head[..32]);
        let (intra, inter) = rest.split_at(statistics);
        let prior = Self {
            id: id(file),
            program,
            bits,
            intra: Statistics::read(intra),
            inter: Statistics::read(inter),
        };
        for place in prior.intra.places.iter().chain(&prior.inter.places) {
            let unknown = |name: &&u16| usize::from(**name) >= PLANES * bits as usize;
            if let Some(name) = place.names.as_flattened().iter().find(unknown) {
                return Err(PriorError::Name(*name));
            }
        }
        Ok(prior)
    }

    /// A prior of these statistics, and its file.
    pub(crate) fn new(
        program: [u8; 32],
        bits: u32,
        intra: Statistics,
        inter: Statistics,
    ) -> (Self, Vec<u8>) {
        let mut file = MAGIC.to_vec();
        file.extend_from_slice(&program);
        file.extend_from_slice(&(bits as u16).to_le_bytes());
        intra.write(&mut file);
        inter.write(&mut file);
        let prior = Self {
            id: id(&file),
            program,
            bits,
            intra,
            inter,
        };
        (prior, file)
    }

    /// The prior's id.
    pub fn id(&self) -> PriorId {
        self.id
    }

    /// Id (SHA-256) of the program whose latents the prior describes.
    pub fn program(&self) -> &[u8; 32] {
        &self.program
    }

    /// Most bits a patch that the prior describes.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// Whether the prior describes the latents of a frame.
    pub fn describes(&self, frame: &LatentFrame) -> bool {
        frame.program == self.program && frame.bits <= self.bits
    }

    pub(crate) fn statistics_mut(&mut self, mode: Mode) -> &mut Statistics {
        match mode {
            Mode::Intra => &mut self.intra,
            Mode::Inter => &mut self.inter,
        }
    }

    pub(crate) fn statistics(&self, mode: Mode) -> &Statistics {
        match mode {
            Mode::Intra => &self.intra,
            Mode::Inter => &self.inter,
        }
    }
}

impl Statistics {
    /// None: all bits are as likely 0 as 1.
    pub(crate) fn new(bits: usize) -> Self {
        Self {
            shared: vec![[0; LANES]; SHARED_SETS],
            places: vec![Place::new(Names::default()); 2 * bits],
        }
    }

    fn read(mut bytes: &[u8]) -> Self {
        let shared = (0..SHARED_SETS)
            .map_while(|_| weights(&mut bytes))
            .collect();
        let places = std::iter::from_fn(|| Place::read(&mut bytes)).collect();
        Self { shared, places }
    }

    fn write(&self, file: &mut Vec<u8>) {
        let weigh = |file: &mut Vec<u8>, weights: &[Weights]| {
            file.extend(
                weights
                    .as_flattened()
                    .iter()
                    .flat_map(|weight| weight.to_le_bytes()),
            );
        };
        weigh(file, &self.shared);
        for place in &self.places {
            file.extend(
                place
                    .names
                    .as_flattened()
                    .iter()
                    .flat_map(|name| name.to_le_bytes()),
            );
            file.extend(place.cells.as_flattened().iter().map(|logit| *logit as u8));
            weigh(file, &place.weights);
        }
    }
}

impl Place {
    /// Without statistics: all bits are as likely 0 as 1.
    pub(crate) fn new(names: Names) -> Self {
        Self {
            names,
            cells: [[0; CELLS]; INPUTS],
            weights: [[0; LANES]; OWN_SETS],
        }
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut names = Names::default();
        for name in names.as_flattened_mut() {
            *name = u16::from_le_bytes(take(bytes)?);
        }
        let mut place = Self::new(names);
        for cells in &mut place.cells {
            *cells = take::<CELLS>(bytes)?.map(|logit| logit as i8);
        }
        for set in &mut place.weights {
            *set = weights(bytes)?;
        }
        Some(place)
    }
}

fn weights(bytes: &mut &[u8]) -> Option<Weights> {
    let bytes = take::<{ LANES * 2 }>(bytes)?;
    let mut weights = Weights::default();
    for (weight, bytes) in weights.iter_mut().zip(bytes.as_chunks().0) {
        *weight = i16::from_le_bytes(*bytes);
    }
    Some(weights)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*taken)
}

fn id(file: &[u8]) -> PriorId {
    let digest: [u8; 32] = Sha256::digest(file).into();
    let mut id = [0; 8];
    id.copy_from_slice(&digest[..8]);
    PriorId(id)
}

impl fmt::Display for PriorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PriorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Prior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut prior = f.debug_struct("Prior");
        prior.field("id", &self.id).field("bits", &self.bits);
        prior.finish_non_exhaustive()
    }
}
