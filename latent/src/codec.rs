//! The latent codec: a container in fewer bytes, without loss.
//!
//! # Layout
//!
//! Little-endian.
//!
//! | offset | bytes | field    | allowed                                                                         |
//! |--------|-------|----------|---------------------------------------------------------------------------------|
//! | 0      | 1     | version  | 1                                                                               |
//! | 1      | 1     | flags    | bit 0: refers to the camera's frame before; bit 1: patches are stored as they are |
//! | 2      | 2     | bits     | bits a patch, 8 to the prior's, multiple of 8                                   |
//! | 4      | 2     | width    | pixels of the frame, 1 to 16384                                                 |
//! | 6      | 2     | height   | pixels of the frame, 1 to 16384                                                 |
//! | 8      | 8     | prior    | id of the prior                                                                 |
//! | 16     | 4     | checksum | the CRC-32C at the end of the frame's container                                 |
//! | 20     | n     | patches  | coded                                                                           |

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::{
    LatentError, LatentFrame,
    arithmetic::{Decoder, Encoder},
    contexts::{Contexts, Mode},
    mix::Mixer,
    patches::{Shape, Visitor, walk},
    prior::{Place, Prior, PriorId},
    references::Reference,
};

/// Version of the format.
pub const VERSION: u8 = 1;
/// Bytes before the coded patches.
pub const HEADER_BYTES: usize = 20;

const REFERENCED: u8 = 1;
const STORED: u8 = 2;

/// The beginning of a coded frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the frame refers to the camera's frame before.
    pub referenced: bool,
    /// Whether the patches are stored as they are.
    pub stored: bool,
    /// Bits a patch.
    pub bits: u32,
    /// Width of the frame in pixels.
    pub width: u32,
    /// Height of the frame in pixels.
    pub height: u32,
    /// Id of the prior.
    pub prior: PriorId,
    /// CRC-32C at the end of the frame's container.
    pub checksum: u32,
}

/// Why bytes are not a coded frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// Shorter than a header.
    #[error("coded latents of {0} bytes are shorter than their {HEADER_BYTES} bytes of header")]
    TooShort(usize),
    /// A version that this build does not know.
    #[error("coded latents of version {0} are not supported, only version {VERSION} is")]
    Version(u8),
    /// Flags are reserved.
    #[error("coded latents' flags are {0:#04x}, only bits 0 and 1 are allowed, and not both")]
    Flags(u8),
    /// Size or bits out of range.
    #[error(transparent)]
    Frame(#[from] LatentError),
    /// A prior that this side does not know, or one of another program.
    #[error("coded latents name the prior {0}, which is not known here")]
    Prior(PriorId),
    /// More bits a patch than the prior describes.
    #[error("coded latents have {bits} bits a patch, their prior describes {max}")]
    Bits {
        /// Bits a patch.
        bits: u32,
        /// Most bits a patch that the prior describes.
        max: u32,
    },
    /// The frame before is not in the table.
    #[error("coded latents refer to a frame that this stream has not brought, or not lately")]
    Reference,
    /// Ended before all patches were there.
    #[error("coded latents end before all their patches")]
    Ends,
    /// More bytes than the patches need.
    #[error("coded latents have bytes after their patches")]
    Surplus,
    /// The patches are not those that were coded.
    #[error(
        "coded latents decode to a container with checksum {computed:08x} instead of {stored:08x}"
    )]
    Checksum {
        /// Checksum in the header.
        stored: u32,
        /// That of the decoded container.
        computed: u32,
    },
    /// The caller asked to stop.
    #[error("decoding was stopped")]
    Stopped,
}

impl Header {
    /// Reads the header of a coded frame, and checks it without a look at the rest.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn read(coded: &[u8]) -> Result<Self, CodecError> {
        let Some(fields) = coded.first_chunk::<HEADER_BYTES>() else {
            return Err(CodecError::TooShort(coded.len()));
        };
        let [
            version,
            flags,
            bits0,
            bits1,
            width0,
            width1,
            height0,
            height1,
            rest @ ..,
        ] = *fields;
        if version != VERSION {
            return Err(CodecError::Version(version));
        }
        if flags > STORED {
            return Err(CodecError::Flags(flags));
        }
        let mut prior = [0; 8];
        prior.copy_from_slice(&rest[..8]);
        let mut checksum = [0; 4];
        checksum.copy_from_slice(&rest[8..]);
        let header = Self {
            referenced: flags & REFERENCED != 0,
            stored: flags & STORED != 0,
            bits: u16::from_le_bytes([bits0, bits1]).into(),
            width: u16::from_le_bytes([width0, width1]).into(),
            height: u16::from_le_bytes([height0, height1]).into(),
            prior: PriorId(prior),
            checksum: u32::from_le_bytes(checksum),
        };
        LatentFrame::check_shape(header.bits, header.width, header.height)?;
        Ok(header)
    }

    /// Bytes of the container that the frame decodes to.
    pub fn container_bytes(&self) -> usize {
        crate::OVERHEAD_BYTES + self.payload_bytes()
    }

    fn payload_bytes(&self) -> usize {
        let (columns, rows) = (
            self.width.div_ceil(crate::PATCH),
            self.height.div_ceil(crate::PATCH),
        );
        // At most 512 * 512 patches of 512 bytes.
        columns as usize * rows as usize * (self.bits / 8) as usize
    }

    /// Whether a frame before is of the same program and size, and the prior describes it.
    fn fits(&self, reference: &Reference, prior: &Prior) -> bool {
        let frame = &reference.frame;
        (frame.width, frame.height) == (self.width, self.height) && prior.describes(frame)
    }

    fn write(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        out.put_u8(u8::from(self.referenced) * REFERENCED + u8::from(self.stored) * STORED);
        out.put_u16_le(self.bits as u16);
        out.put_u16_le(self.width as u16);
        out.put_u16_le(self.height as u16);
        out.put_slice(&self.prior.0);
        out.put_u32_le(self.checksum);
    }
}

/// Codes a frame, relative to `reference` if there is one, which must be of the same size and program. A frame that
/// would become larger is stored as it is.
///
/// # Panics
/// If the frame is not valid, or the prior does not describe it.
pub fn encode(prior: &Prior, frame: &LatentFrame, reference: Option<&Reference>) -> Bytes {
    assert!(
        frame.check().is_ok() && prior.describes(frame),
        "a valid frame that the prior describes"
    );
    let mut writer = Writer {
        payload: &frame.payload,
        at: 0,
        mixers: Mixers::new(prior),
        encoder: Encoder::new(),
        most: frame.payload.len(),
    };
    walk(prior, frame.shape(), reference, &mut writer);
    let coded = writer.encoder.finish();
    let stored = coded.len() >= frame.payload.len();
    let header = Header {
        referenced: reference.is_some() && !stored,
        stored,
        bits: frame.bits,
        width: frame.width,
        height: frame.height,
        prior: prior.id(),
        checksum: frame.checksum(),
    };
    let patches = if stored { &frame.payload[..] } else { &coded };
    let mut out = BytesMut::with_capacity(HEADER_BYTES + patches.len());
    header.write(&mut out);
    out.put_slice(patches);
    out.freeze()
}

/// Decodes a frame. `reference` is that which it was coded with, if it says so. `goes_on` is asked before each patch
/// whether to continue.
///
/// # Errors
/// The first thing that is wrong.
pub fn decode(
    prior: &Prior,
    coded: &[u8],
    reference: Option<&Reference>,
    mut goes_on: impl FnMut() -> bool,
) -> Result<LatentFrame, CodecError> {
    let header = Header::read(coded)?;
    if header.prior != prior.id() {
        return Err(CodecError::Prior(header.prior));
    }
    if header.bits > prior.bits() {
        let (bits, max) = (header.bits, prior.bits());
        return Err(CodecError::Bits { bits, max });
    }
    let reference = match (header.referenced, reference) {
        (true, Some(reference)) if header.fits(reference, prior) => Some(reference),
        (true, _) => return Err(CodecError::Reference),
        (false, _) => None,
    };
    let patches = &coded[HEADER_BYTES..];
    let payload = match header.stored {
        true if patches.len() > header.payload_bytes() => return Err(CodecError::Surplus),
        true if patches.len() < header.payload_bytes() => return Err(CodecError::Ends),
        true => patches.to_vec(),
        false => read(prior, &header, patches, reference, &mut goes_on)?,
    };
    let frame = LatentFrame {
        bits: header.bits,
        width: header.width,
        height: header.height,
        program: *prior.program(),
        payload: payload.into(),
    };
    let (stored, computed) = (header.checksum, frame.checksum());
    if stored != computed {
        return Err(CodecError::Checksum { stored, computed });
    }
    Ok(frame)
}

fn read(
    prior: &Prior,
    header: &Header,
    patches: &[u8],
    reference: Option<&Reference>,
    goes_on: &mut dyn FnMut() -> bool,
) -> Result<Vec<u8>, CodecError> {
    let mut reader = Reader {
        mixers: Mixers::new(prior),
        decoder: Decoder::new(patches),
        goes_on,
        stopped: false,
    };
    let shape = Shape::new(header.width, header.height, header.bits);
    let mut payload = walk(prior, shape, reference, &mut reader);
    if reader.stopped {
        return Err(CodecError::Stopped);
    }
    if payload.len() < shape.bytes() || reader.decoder.ran_out() {
        return Err(CodecError::Ends);
    }
    if reader.decoder.has_rest() {
        return Err(CodecError::Surplus);
    }
    // The table of references keeps it, and counts its bytes.
    payload.shrink_to_fit();
    Ok(payload)
}

/// The mixers of a frame.
struct Mixers {
    intra: Mixer,
    inter: Mixer,
}

impl Mixers {
    fn new(prior: &Prior) -> Self {
        let [intra, inter] =
            [Mode::Intra, Mode::Inter].map(|mode| Mixer::new(prior.statistics(mode)));
        Self { intra, inter }
    }

    fn of(&mut self, mode: Mode) -> &mut Mixer {
        match mode {
            Mode::Intra => &mut self.intra,
            Mode::Inter => &mut self.inter,
        }
    }
}

/// Codes the bits of a frame.
struct Writer<'a> {
    payload: &'a [u8],
    /// The next bit.
    at: usize,
    mixers: Mixers,
    encoder: Encoder,
    /// Bytes from which on the frame is better stored as it is.
    most: usize,
}

impl Visitor for Writer<'_> {
    #[inline(always)]
    fn bit(&mut self, mode: Mode, _place: usize, statistics: &Place, contexts: &Contexts) -> u8 {
        let bit = self.payload[self.at / 8] >> (self.at % 8) & 1;
        self.at += 1;
        let mixer = self.mixers.of(mode);
        let prediction = mixer.predict(statistics, contexts);
        self.encoder.encode(prediction.one, bit);
        mixer.learn(&prediction, bit);
        bit
    }

    fn goes_on(&mut self) -> bool {
        self.encoder.len() < self.most
    }
}

/// Decodes the bits of a frame.
struct Reader<'a> {
    mixers: Mixers,
    decoder: Decoder<'a>,
    goes_on: &'a mut dyn FnMut() -> bool,
    stopped: bool,
}

impl Visitor for Reader<'_> {
    #[inline(always)]
    fn bit(&mut self, mode: Mode, _place: usize, statistics: &Place, contexts: &Contexts) -> u8 {
        let mixer = self.mixers.of(mode);
        let prediction = mixer.predict(statistics, contexts);
        let bit = self.decoder.decode(prediction.one);
        mixer.learn(&prediction, bit);
        bit
    }

    fn goes_on(&mut self) -> bool {
        self.stopped = !(self.goes_on)();
        !self.stopped && !self.decoder.ran_out()
    }
}
