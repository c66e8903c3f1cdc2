//! The latent container: the latents of one frame, on the wire, in the spool and in the cloud.
//!
//! # Layout
//!
//! Little-endian, no alignment, nothing after the checksum.
//!
//! | offset | bytes | field   | allowed                                                       |
//! |--------|-------|---------|---------------------------------------------------------------|
//! | 0      | 4     | magic   | `PWL1`                                                        |
//! | 4      | 1     | version | 1                                                             |
//! | 5      | 1     | flags   | 0                                                             |
//! | 6      | 2     | bits    | bits a patch, 8 to 4096, multiple of 8                        |
//! | 8      | 4     | width   | pixels of the frame, 1 to 16384                               |
//! | 12     | 4     | height  | pixels of the frame, 1 to 16384                               |
//! | 16     | 32    | program | id of the program that made the latents                       |
//! | 48     | n     | patches | ceil(height/32) rows of ceil(width/32) patches, bits/8 each   |
//! | 48 + n | 4     | crc     | CRC-32C of all bytes before it                                |
//!
//! # Invariants
//!
//! - The length follows from the header: a container is exactly 52 + n bytes long.
//! - Every patch has the same number of bits, so patch (x, y) is found without reading others.
//! - The bits of a patch are in the order of their use, so that a prefix of each patch is a coarser frame.
//! - Width and height are the true size; the encoder pads to multiples of 32 by edge replication.
//!
//! # Failure
//!
//! [`LatentFrame::decode`] checks in the order of the fields and names the first that is wrong;
//! it allocates nothing: the payload is a slice of the input.

use bytes::{BufMut, Bytes, BytesMut};

/// Side of a patch in pixels.
pub const PATCH: u32 = 32;
/// Bytes of a container that are not patches: header and checksum.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + CRC_BYTES;
/// Largest width or height of a frame in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// Fewest bits a patch.
pub const MIN_BITS: u32 = 8;
/// Most bits a patch.
pub const MAX_BITS: u32 = 4096;

const MAGIC: &[u8; 4] = b"PWL1";
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 48;
const CRC_BYTES: usize = 4;

/// The latents of one frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatentFrame {
    /// Bits a patch, [`MIN_BITS`] to [`MAX_BITS`], multiple of 8.
    pub bits: u32,
    /// Width of the frame in pixels, 1 to [`MAX_SIDE`].
    pub width: u32,
    /// Height of the frame in pixels, 1 to [`MAX_SIDE`].
    pub height: u32,
    /// Id (SHA-256) of the program that made the latents.
    pub program: [u8; 32],
    /// The patches, row-major, `bits / 8` bytes each.
    pub payload: Bytes,
}

/// Why bytes are not a latent container, or a [`LatentFrame`] cannot become one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LatentError {
    /// Shorter than header and checksum.
    #[error(
        "latent container of {actual} bytes is shorter than its {OVERHEAD_BYTES} bytes of header and checksum"
    )]
    TooShort {
        /// Bytes given.
        actual: usize,
    },
    /// Does not start with `PWL1`.
    #[error("not a latent container: it starts with {0:02x?} instead of \"PWL1\"")]
    Magic([u8; 4]),
    /// A version that this build does not know.
    #[error("latent container version {0} is not supported, only {VERSION} is")]
    Version(u8),
    /// Flags are reserved.
    #[error("latent container flags are {0:#04x}, only 0 is allowed")]
    Flags(u8),
    /// Bits a patch out of range.
    #[error("{0} bits a patch is not a multiple of 8 from {MIN_BITS} to {MAX_BITS}")]
    Bits(u32),
    /// A prefix that the patches do not have.
    #[error("a prefix of {asked} bits a patch is not a multiple of 8 from {MIN_BITS} to {there}")]
    Prefix {
        /// Bits a patch asked for.
        asked: u32,
        /// Bits a patch that are there.
        there: u32,
    },
    /// Width or height out of range.
    #[error("frame of {width}x{height} pixels is outside 1 to {MAX_SIDE} a side")]
    Side {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The patches do not have the length that the header gives.
    #[error("{actual} bytes of patches, but the header's size and bits need {expected}")]
    Length {
        /// Bytes of patches that size and bits need.
        expected: usize,
        /// Bytes of patches given.
        actual: usize,
    },
    /// The checksum differs: the bytes were damaged on the way.
    #[error("latent container checksum is {stored:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// Checksum in the container.
        stored: u32,
        /// CRC-32C of its bytes.
        computed: u32,
    },
}

impl LatentFrame {
    /// Patches in a row: ceil(width / 32).
    pub fn patches_x(&self) -> u32 {
        self.width.div_ceil(PATCH)
    }

    /// Rows of patches: ceil(height / 32).
    pub fn patches_y(&self) -> u32 {
        self.height.div_ceil(PATCH)
    }

    /// All patches of the frame.
    pub fn patches(&self) -> u64 {
        u64::from(self.patches_x()) * u64::from(self.patches_y())
    }

    /// Bits of all patches, container overhead excluded.
    pub fn total_bits(&self) -> u64 {
        self.patches() * u64::from(self.bits)
    }

    /// [`total_bits`](Self::total_bits) over width * height, the reported bit rate.
    pub fn bits_per_pixel(&self) -> f64 {
        self.total_bits() as f64 / (f64::from(self.width) * f64::from(self.height))
    }

    /// The frame at a lower rate: the first `bits` of each patch.
    ///
    /// # Errors
    /// [`LatentError::Prefix`] unless `bits` is a multiple of 8 from [`MIN_BITS`] to the frame's own; that of
    /// [`check`](Self::check) if the frame is not valid.
    pub fn prefix(&self, bits: u32) -> Result<Self, LatentError> {
        self.check()?;
        if !(MIN_BITS..=self.bits).contains(&bits) || !bits.is_multiple_of(8) {
            return Err(LatentError::Prefix {
                asked: bits,
                there: self.bits,
            });
        }
        let (whole, kept) = ((self.bits / 8) as usize, (bits / 8) as usize);
        let mut payload = BytesMut::with_capacity(self.payload.len() / whole * kept);
        for patch in self.payload.chunks_exact(whole) {
            payload.put_slice(&patch[..kept]);
        }
        Ok(Self {
            bits,
            payload: payload.freeze(),
            ..self.clone()
        })
    }

    /// Checks every field against its limits and the payload against the size.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn check(&self) -> Result<(), LatentError> {
        Self::check_shape(self.bits, self.width, self.height)?;
        // At most 512 * 512 patches of 512 bytes: 128 MiB fit any usize of 32 bits or more.
        let expected = (self.total_bits() / 8) as usize;
        if self.payload.len() != expected {
            return Err(LatentError::Length {
                expected,
                actual: self.payload.len(),
            });
        }
        Ok(())
    }

    /// Checks bits a patch, and width and height in pixels, against their limits.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check_shape(bits: u32, width: u32, height: u32) -> Result<(), LatentError> {
        if !(MIN_BITS..=MAX_BITS).contains(&bits) || !bits.is_multiple_of(8) {
            return Err(LatentError::Bits(bits));
        }
        let sides = 1..=MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(LatentError::Side { width, height });
        }
        Ok(())
    }

    /// The CRC-32C at the container's end.
    pub fn checksum(&self) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.header()), &self.payload)
    }

    /// The container's bytes. Those of a frame that fails [`check`](Self::check) are refused by
    /// [`decode`](Self::decode).
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(OVERHEAD_BYTES + self.payload.len());
        out.put_slice(&self.header());
        out.put_slice(&self.payload);
        out.put_u32_le(self.checksum());
        out.freeze()
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let bits = u16::try_from(self.bits).unwrap_or(u16::MAX);
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(MAGIC);
        header[4] = VERSION;
        header[6..8].copy_from_slice(&bits.to_le_bytes());
        header[8..12].copy_from_slice(&self.width.to_le_bytes());
        header[12..16].copy_from_slice(&self.height.to_le_bytes());
        header[16..].copy_from_slice(&self.program);
        header
    }

    /// Reads a container; the payload shares the input's memory.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn decode(container: Bytes) -> Result<Self, LatentError> {
        let actual = container.len();
        if actual < OVERHEAD_BYTES {
            return Err(LatentError::TooShort { actual });
        }
        let magic = array::<4>(&container, 0);
        if &magic != MAGIC {
            return Err(LatentError::Magic(magic));
        }
        if container[4] != VERSION {
            return Err(LatentError::Version(container[4]));
        }
        if container[5] != 0 {
            return Err(LatentError::Flags(container[5]));
        }
        let frame = Self {
            bits: u32::from(u16::from_le_bytes(array(&container, 6))),
            width: u32::from_le_bytes(array(&container, 8)),
            height: u32::from_le_bytes(array(&container, 12)),
            program: array(&container, 16),
            payload: container.slice(HEADER_BYTES..actual - CRC_BYTES),
        };
        frame.check()?;
        let stored = u32::from_le_bytes(array(&container, actual - CRC_BYTES));
        let computed = crc32c::crc32c(&container[..actual - CRC_BYTES]);
        if stored != computed {
            return Err(LatentError::Checksum { stored, computed });
        }
        Ok(frame)
    }
}

/// `N` bytes at `at`, which the caller knows to be there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}
