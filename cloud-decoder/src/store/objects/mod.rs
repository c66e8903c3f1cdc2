//! A frame's bytes: latents, original, reconstruction and thumbnail, each one object in a local folder or an S3 bucket.
//!
//! Objects are written before their catalogue row: a crash between the two leaves an object without a row, which is
//! found when the frame is sent again, or by the next repair.

mod access;
mod connect;
mod error;
mod kind;
mod partial_uploads;

pub use access::{Objects, Opened};
pub use error::ObjectError;
pub use kind::{Kind, key};
