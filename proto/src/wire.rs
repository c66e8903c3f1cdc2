//! Bounds on messages of the uplink that hold before anything of them is decoded.
//!
//! An empty entry of a repeated field takes two bytes on the wire and more than a hundred in memory, so a message that
//! is within the stream's limit could take gigabytes. The walk over the wire here allocates nothing: it bounds the
//! bytes of each message by its kind, and counts entries.

use crate::{
    limits::{MAX_CODEC_VERSIONS, MAX_LABELS, MAX_PRIORS, MAX_PROGRAMS},
    v1::{CloudMessage, EdgeMessage},
};

/// Largest hello in bytes. One with all that the limits allow takes a third of it.
pub const MAX_HELLO_BYTES: usize = 16 << 10;
/// Largest status of a node in bytes.
pub const MAX_STATUS_BYTES: usize = 1 << 10;
/// Largest label of a frame in bytes.
pub const MAX_LABEL_BYTES: usize = 16 << 10;
/// Largest message from the cloud in bytes.
pub const MAX_REPLY_BYTES: usize = 16 << 10;

/// Why a message is not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// More bytes than its kind may have.
    #[error("a {kind} is {actual} bytes long, allowed are at most {max}")]
    Length {
        /// Kind of message.
        kind: &'static str,
        /// Bytes given.
        actual: usize,
        /// Most bytes allowed.
        max: usize,
    },
    /// More entries than a list may have.
    #[error("a message has more than the {max} of {field} that are allowed")]
    Count {
        /// Name of the field.
        field: &'static str,
        /// Most entries allowed.
        max: usize,
    },
    /// No protobuf message.
    #[error("a message is not readable")]
    Malformed,
}

/// A message that says how much of it may come.
pub trait Bounded {
    /// Walks over an encoded message.
    ///
    /// # Errors
    /// It is larger than its kind may be, has too many entries, or is no message.
    fn check_wire(message: &[u8]) -> Result<(), Refused>;
}

/// A field of bytes: its bounds and its content.
struct Field {
    number: u64,
    name: &'static str,
    /// Most entries, also of one that is not repeated: decoding merges them.
    count: usize,
    bytes: usize,
    fields: &'static [Field],
}

const fn field(number: u64, name: &'static str, count: usize, bytes: usize) -> Field {
    Field {
        number,
        name,
        count,
        bytes,
        fields: &[],
    }
}

const ANY: usize = usize::MAX;
/// Most fields of one message that have bounds.
const MOST_FIELDS: usize = 3;

const HELLO: &[Field] = &[
    field(3, "program_ids", MAX_PROGRAMS, ANY),
    field(4, "programs", MAX_PROGRAMS, ANY),
];
const LABEL: &[Field] = &[field(2, "scores", MAX_LABELS, ANY)];
const FRAME: &[Field] = &[
    Field {
        fields: LABEL,
        ..field(7, "label", 1, MAX_LABEL_BYTES)
    },
    field(8, "original", 1, ANY),
];
const EDGE: &[Field] = &[
    Field {
        fields: HELLO,
        ..field(1, "hello", 1, MAX_HELLO_BYTES)
    },
    Field {
        fields: FRAME,
        ..field(2, "frame", 1, ANY)
    },
    field(3, "status", 1, MAX_STATUS_BYTES),
];
// Versions are packed: an entry here is a list of them.
const WELCOME: &[Field] = &[
    field(7, "codec_versions", 1, 5 * MAX_CODEC_VERSIONS),
    field(8, "prior_ids", MAX_PRIORS, ANY),
];
const CLOUD: &[Field] = &[Field {
    fields: WELCOME,
    ..field(1, "welcome", 1, MAX_REPLY_BYTES)
}];

impl Bounded for EdgeMessage {
    fn check_wire(message: &[u8]) -> Result<(), Refused> {
        walk(message, EDGE)
    }
}

impl Bounded for CloudMessage {
    fn check_wire(message: &[u8]) -> Result<(), Refused> {
        within("message of the cloud", message.len(), MAX_REPLY_BYTES)?;
        walk(message, CLOUD)
    }
}

fn within(kind: &'static str, actual: usize, max: usize) -> Result<(), Refused> {
    match actual <= max {
        true => Ok(()),
        false => Err(Refused::Length { kind, actual, max }),
    }
}

fn walk(mut message: &[u8], fields: &[Field]) -> Result<(), Refused> {
    let mut counts = [0; MOST_FIELDS];
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let value = match key & 7 {
            0 => {
                varint(&mut message)?;
                continue;
            }
            1 => {
                take(&mut message, 8)?;
                continue;
            }
            2 => {
                let length = varint(&mut message)?;
                take(&mut message, length)?
            }
            5 => {
                take(&mut message, 4)?;
                continue;
            }
            // Groups: the contract has none.
            _ => return Err(Refused::Malformed),
        };
        let known = fields.iter().zip(&mut counts);
        for (field, count) in known.filter(|(field, _)| field.number == key >> 3) {
            within(field.name, value.len(), field.bytes)?;
            *count += 1;
            if *count > field.count {
                return Err(Refused::Count {
                    field: field.name,
                    max: field.count,
                });
            }
            if !field.fields.is_empty() {
                walk(value, field.fields)?;
            }
        }
    }
    Ok(())
}

fn take<'a>(message: &mut &'a [u8], length: u64) -> Result<&'a [u8], Refused> {
    let length = usize::try_from(length).map_err(|_| Refused::Malformed)?;
    let (taken, rest) = message.split_at_checked(length).ok_or(Refused::Malformed)?;
    *message = rest;
    Ok(taken)
}

fn varint(message: &mut &[u8]) -> Result<u64, Refused> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first().ok_or(Refused::Malformed)?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Refused::Malformed)
}
