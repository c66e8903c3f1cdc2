//! Image files to RGB pixels and back.
//!
//! [`decode`](decode::decode) reads a file of PNG, JPEG, WebP or PNM, or raw RGB, within limits, and turns it upright.
//! [`encode`] writes lossless files, [`reconstruction`] the PNG of a picture that a decoder made. [`jpeg`] reads JPEG as
//! cameras really send it, and [`Jpegs`] splits motion JPEG into files. A damaged file gives an error, never a panic and
//! never more memory than its size allows.
//!
//! The crate knows no service, no async and no I/O: bytes in, bytes out.
#![forbid(unsafe_code)]

pub mod decode;
pub mod encode;
mod format;
pub mod jpeg;
mod mjpeg;
pub mod original;
mod picture;
pub mod reconstruction;
mod text;
mod upright;
mod webp;

pub use self::{
    decode::{DecodeError, decode, decode_as, size},
    format::{EXTENSIONS, media_type},
    jpeg::{Jpeg, JpegError},
    mjpeg::{Jpegs, TooLong},
    picture::{Limits, Picture},
};
pub use image::ImageError;
