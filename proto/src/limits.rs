//! Limits on every field of the contract, and the checks that both ends make.
//!
//! The edge checks what it sends, the cloud what it receives; the sentence of [`Invalid`] is what
//! a rejected frame's ack or a refused stream's status says.

pub use latent::MAX_SIDE;

use latent::{LatentError, LatentFrame};
use uuid::{Uuid, Version};

use crate::v1::{EncodedFrame, Hello, Label, NodeStatus, Original, Program, Welcome};

/// Most scores that a label carries.
pub const MAX_LABELS: usize = 16;
/// Longest text of one class label in bytes.
pub const MAX_LABEL_TEXT: usize = 255;
/// Longest node or camera id in characters.
pub const MAX_ID: usize = 64;
/// Longest software version and source format in bytes.
pub const MAX_TEXT: usize = 128;
/// Most programs that a node announces.
pub const MAX_PROGRAMS: usize = 16;
/// Most versions of the latent codec that a welcome offers.
pub const MAX_CODEC_VERSIONS: usize = 16;
/// Most priors that a welcome offers.
pub const MAX_PRIORS: usize = 64;
/// Largest table of references of one stream in bytes.
pub const MAX_REFERENCE_BYTES: u64 = 64 << 20;
/// Default for the largest message of the uplink in bytes, both ways.
pub const MAX_MESSAGE_BYTES: usize = 64 << 20;
/// Media types that an original may have.
pub const ORIGINAL_MEDIA_TYPES: [&str; 3] = ["image/png", "image/webp", "image/jpeg"];

/// Largest frame as a camera sends it, in bytes.
pub const MAX_SOURCE_BYTES: u64 = 1 << 32;
/// Largest amount of bytes that a message tells, 1 PiB.
pub const MAX_BYTES: u64 = 1 << 50;
/// Largest count of frames, layers, operations or bits that a message tells.
pub const MAX_COUNT: u64 = 1 << 50;

/// The last millisecond of the year 9999, the largest that calendars in use can print.
const MAX_UNIX_MS: i64 = 253_402_300_799_999;
const PROGRAM_ID: usize = 32;
const PRIOR_ID: usize = 8;

/// What is wrong with a message, in one sentence that names the field and what is allowed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Invalid {
    /// An id with other characters than allowed, too long, or empty.
    #[error("{field} {value:?} is not 1 to {MAX_ID} characters of A-Z a-z 0-9 . _ -")]
    Id {
        /// Name of the field.
        field: &'static str,
        /// Its start, at most [`MAX_ID`] characters.
        value: String,
    },
    /// A text out of its length.
    #[error("{field} is {actual} bytes long, allowed are {min} to {max}")]
    Length {
        /// Name of the field.
        field: &'static str,
        /// Bytes given.
        actual: usize,
        /// Fewest bytes allowed.
        min: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// A list with too few or too many entries.
    #[error("{field} has {actual} entries, allowed are {min} to {max}")]
    Count {
        /// Name of the field.
        field: &'static str,
        /// Entries given.
        actual: usize,
        /// Fewest entries allowed.
        min: usize,
        /// Most entries allowed.
        max: usize,
    },
    /// A number beyond its bound.
    #[error("{field} is {actual}, allowed are 0 to {max}")]
    Number {
        /// Name of the field.
        field: &'static str,
        /// Value given.
        actual: u64,
        /// Largest allowed.
        max: u64,
    },
    /// Not 16 bytes of a version 7 UUID.
    #[error("frame_id is not a version 7 UUID of 16 bytes")]
    FrameId,
    /// A time before 1970 or after 9999.
    #[error("captured_unix_ms {0} is outside 0 to {MAX_UNIX_MS}")]
    Captured(i64),
    /// Width or height out of range.
    #[error("frame of {width}x{height} pixels is outside 1 to {MAX_SIDE} a side")]
    Side {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// Neither latents nor a label.
    #[error("frame carries neither latents nor a label")]
    Empty,
    /// The latent container is damaged.
    #[error(transparent)]
    Latents(#[from] LatentError),
    /// The latent container is of another size than the frame.
    #[error("latents are of {latent_width}x{latent_height} pixels, the frame is {width}x{height}")]
    LatentSize {
        /// Width of the frame in pixels.
        width: u32,
        /// Height of the frame in pixels.
        height: u32,
        /// Width in the container.
        latent_width: u32,
        /// Height in the container.
        latent_height: u32,
    },
    /// A score that is not a probability.
    #[error("label score {0} is not from 0 to 1")]
    Score(f32),
    /// Scores are not sorted.
    #[error("label scores are not sorted, most likely class first")]
    ScoreOrder,
    /// An original of a type that is not allowed.
    #[error(
        "original's media type {0:?} is none of \"image/png\", \"image/webp\" and \"image/jpeg\""
    )]
    MediaType(String),
    /// The frame's checksum differs.
    #[error("frame checksum is {stored:08x}, its bytes give {computed:08x}")]
    Checksum {
        /// Checksum in the message.
        stored: u32,
        /// CRC-32C of its bytes.
        computed: u32,
    },
}

/// Checks a node or camera id: 1 to [`MAX_ID`] characters of `[A-Za-z0-9._-]`.
///
/// # Errors
/// [`Invalid::Id`] with the name of the field.
pub fn check_id(field: &'static str, id: &str) -> Result<(), Invalid> {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(allowed) {
        return Ok(());
    }
    Err(Invalid::Id {
        field,
        value: id.chars().take(MAX_ID).collect(),
    })
}

/// Checks every field of a hello.
///
/// # Errors
/// The first field that is wrong.
pub fn check_hello(hello: &Hello) -> Result<(), Invalid> {
    check_id("node_id", &hello.node_id)?;
    check_length(
        "software_version",
        hello.software_version.len(),
        0,
        MAX_TEXT,
    )?;
    check_count("program_ids", hello.program_ids.len(), 0, MAX_PROGRAMS)?;
    for id in &hello.program_ids {
        check_length("program_id", id.len(), PROGRAM_ID, PROGRAM_ID)?;
    }
    check_count("programs", hello.programs.len(), 0, MAX_PROGRAMS)?;
    hello.programs.iter().try_for_each(check_program)
}

/// Checks what a welcome says about the latent codec.
///
/// # Errors
/// The first field that is wrong.
pub fn check_welcome(welcome: &Welcome) -> Result<(), Invalid> {
    let versions = welcome.codec_versions.len();
    check_count("codec_versions", versions, 0, MAX_CODEC_VERSIONS)?;
    check_count("prior_ids", welcome.prior_ids.len(), 0, MAX_PRIORS)?;
    for id in &welcome.prior_ids {
        check_length("prior_id", id.len(), PRIOR_ID, PRIOR_ID)?;
    }
    let bytes = welcome.reference_bytes;
    check_number("reference_bytes", bytes, MAX_REFERENCE_BYTES)
}

/// Checks every field of a node's status.
///
/// # Errors
/// The first field that is wrong.
pub fn check_status(status: &NodeStatus) -> Result<(), Invalid> {
    check_number("spool_frames", status.spool_frames, MAX_COUNT)?;
    check_number("spool_bytes", status.spool_bytes, MAX_BYTES)?;
    check_number("spool_max_bytes", status.spool_max_bytes, MAX_BYTES)?;
    check_number("dropped_frames", status.dropped_frames, MAX_COUNT)?;
    check_number("held_frames", status.held_frames, MAX_COUNT)
}

/// Checks every field of a frame whose latents are not coded, its checksum last, and returns its latents if it has
/// some.
///
/// # Errors
/// The first field that is wrong.
pub fn check_frame(frame: &EncodedFrame) -> Result<Option<LatentFrame>, Invalid> {
    frame_id(&frame.frame_id)?;
    check_id("camera_id", &frame.camera_id)?;
    if !(0..=MAX_UNIX_MS).contains(&frame.captured_unix_ms) {
        return Err(Invalid::Captured(frame.captured_unix_ms));
    }
    let (width, height) = (frame.width, frame.height);
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Err(Invalid::Side { width, height });
    }
    check_length("source_format", frame.source_format.len(), 0, MAX_TEXT)?;
    check_number("source_bytes", frame.source_bytes, MAX_SOURCE_BYTES)?;
    if let Some(label) = &frame.label {
        check_label(label)?;
    } else if frame.latents.is_empty() {
        return Err(Invalid::Empty);
    }
    if let Some(original) = &frame.original {
        check_original(original)?;
    }
    let computed = frame.compute_crc32c();
    if frame.crc32c != computed {
        return Err(Invalid::Checksum {
            stored: frame.crc32c,
            computed,
        });
    }
    if frame.latents.is_empty() {
        return Ok(None);
    }
    let latents = LatentFrame::decode(frame.latents.clone())?;
    if (latents.width, latents.height) != (width, height) {
        return Err(Invalid::LatentSize {
            width,
            height,
            latent_width: latents.width,
            latent_height: latents.height,
        });
    }
    Ok(Some(latents))
}

/// Reads a frame id: the 16 bytes of a version 7 UUID.
///
/// # Errors
/// [`Invalid::FrameId`].
pub fn frame_id(bytes: &[u8]) -> Result<Uuid, Invalid> {
    Uuid::from_slice(bytes)
        .ok()
        .filter(|id| id.get_version() == Some(Version::SortRand))
        .ok_or(Invalid::FrameId)
}

fn check_program(program: &Program) -> Result<(), Invalid> {
    check_length("program's id", program.id.len(), PROGRAM_ID, PROGRAM_ID)?;
    check_length("program's name", program.name.len(), 0, MAX_TEXT)?;
    for (field, value) in [
        ("program's macs_per_patch", program.macs_per_patch),
        ("program's weight_bits", program.weight_bits),
        ("program's wiring_bits", program.wiring_bits),
        ("program's bias_bits", program.bias_bits),
        ("program's shift_bits", program.shift_bits),
        ("program's map_bits", program.map_bits),
        ("program's budget_bits", program.budget_bits),
    ] {
        check_number(field, value, MAX_COUNT)?;
    }
    Ok(())
}

fn check_label(label: &Label) -> Result<(), Invalid> {
    check_length(
        "label's program_id",
        label.program_id.len(),
        PROGRAM_ID,
        PROGRAM_ID,
    )?;
    check_count("label's scores", label.scores.len(), 1, MAX_LABELS)?;
    for score in &label.scores {
        check_length("label text", score.label.len(), 1, MAX_LABEL_TEXT)?;
        if !(0.0..=1.0).contains(&score.score) {
            return Err(Invalid::Score(score.score));
        }
    }
    if !label.scores.is_sorted_by(|a, b| a.score >= b.score) {
        return Err(Invalid::ScoreOrder);
    }
    Ok(())
}

fn check_original(original: &Original) -> Result<(), Invalid> {
    if !ORIGINAL_MEDIA_TYPES.contains(&original.media_type.as_str()) {
        let shown = original.media_type.chars().take(MAX_ID).collect();
        return Err(Invalid::MediaType(shown));
    }
    check_length("original's data", original.data.len(), 1, usize::MAX)
}

fn check_length(field: &'static str, actual: usize, min: usize, max: usize) -> Result<(), Invalid> {
    if (min..=max).contains(&actual) {
        return Ok(());
    }
    Err(Invalid::Length {
        field,
        actual,
        min,
        max,
    })
}

fn check_number(field: &'static str, actual: u64, max: u64) -> Result<(), Invalid> {
    if actual <= max {
        return Ok(());
    }
    Err(Invalid::Number { field, actual, max })
}

fn check_count(field: &'static str, actual: usize, min: usize, max: usize) -> Result<(), Invalid> {
    if (min..=max).contains(&actual) {
        return Ok(());
    }
    Err(Invalid::Count {
        field,
        actual,
        min,
        max,
    })
}
