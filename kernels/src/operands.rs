//! Weights, sums, and buffers that begin at a cache line.

use std::ops::{Deref, DerefMut};

/// Outputs that are computed together.
pub const LANES: usize = 16;

/// Bytes of a window that are multiplied together.
pub(crate) const TAP: usize = 4;

/// Bytes of a weight for each of 16 outputs, by four bytes of a window: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [i8; TAP * LANES]);

/// The sums of 16 outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Lanes(pub [i32; LANES]);

/// Numbers that an [`Aligned`] buffer can hold.
pub trait Plain: Copy + Default + Send + Sync + 'static {}

impl Plain for u8 {}
impl Plain for i16 {}

/// Values that begin at a cache line, followed by [`Aligned::SPARE`] others, which reads of whole tiles may touch.
#[derive(Debug, Default)]
pub struct Aligned<T> {
    held: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Plain> Aligned<T> {
    const LINE: usize = 64 / size_of::<T>();
    /// Values after the last one.
    pub const SPARE: usize = Self::LINE;

    /// Makes `len` values of this kind and the spare ones.
    pub fn filled(len: usize, value: T) -> Self {
        let held = vec![value; len + Self::SPARE + Self::LINE];
        let start = held.as_ptr().align_offset(64) % Self::LINE;
        Self { held, start, len }
    }

    /// Makes room for `len` values with any content.
    pub fn resize(&mut self, len: usize) {
        let needed = len + Self::SPARE + Self::LINE;
        self.held.resize(self.held.len().max(needed), T::default());
        self.start = self.held.as_ptr().align_offset(64) % Self::LINE;
        self.len = len;
    }

    /// The values and those to spare.
    pub fn with_spare(&self) -> &[T] {
        &self.held[self.start..][..self.len + Self::SPARE]
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.held[self.start..][..self.len]
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.held[self.start..][..self.len]
    }
}
