//! Priors: the statistics of one program's latents, with which each frame's coding begins.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::MAX_BITS;

const MAGIC: &[u8; 4] = b"PWP1";
const HEADER_BYTES: usize = 4 + 32 + 2;

/// The first bytes of the SHA-256 of a prior's file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PriorId(pub [u8; 8]);

/// The statistics of one program's latents.
#[derive(Clone, PartialEq, Eq)]
pub struct Prior {
    id: PriorId,
    program: [u8; 32],
    bits: u32,
}

/// Why a file is not a prior.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PriorError {
    /// Does not start with `PWP1`.
    #[error("not a prior of the latent codec: it does not start with \"PWP1\"")]
    Magic,
    /// Not of the length that it needs.
    #[error(
        "a prior of {expected} bytes is needed for its {bits} bits a patch, this one has {actual}"
    )]
    Length {
        /// Bits a patch.
        bits: u32,
        /// Bytes needed.
        expected: usize,
        /// Bytes given.
        actual: usize,
    },
    /// Bits a patch out of range.
    #[error("a prior of {0} bits a patch is outside 8 to {MAX_BITS}, multiples of 8")]
    Bits(u32),
}

impl Prior {
    /// Reads a prior's file.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn from_bytes(file: &[u8]) -> Result<Self, PriorError> {
        let content = file.strip_prefix(MAGIC).ok_or(PriorError::Magic)?;
        let length = |expected| PriorError::Length {
            bits: 0,
            expected,
            actual: file.len(),
        };
        let (program, rest) = content
            .split_first_chunk::<32>()
            .ok_or(length(HEADER_BYTES))?;
        let (bits, _) = rest.split_first_chunk::<2>().ok_or(length(HEADER_BYTES))?;
        let bits = u32::from(u16::from_le_bytes(*bits));
        if !(8..=MAX_BITS).contains(&bits) || !bits.is_multiple_of(8) {
            return Err(PriorError::Bits(bits));
        }
        let digest: [u8; 32] = Sha256::digest(file).into();
        let mut id = [0; 8];
        id.copy_from_slice(&digest[..8]);
        Ok(Self {
            id: PriorId(id),
            program: *program,
            bits,
        })
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
