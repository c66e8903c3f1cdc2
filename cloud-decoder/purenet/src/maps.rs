//! A stage's output in the forms that its readers need.

use crate::arithmetic::Reading;
use crate::rows::Rows;
use crate::shape::Shape;

/// The forms in which a map is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forms {
    /// In 16 bits.
    pub(crate) wide: bool,
    /// As bytes, read like this.
    pub(crate) bytes: Option<Reading>,
}

/// The rows of a map, in one or two forms.
pub(crate) struct Map {
    pub(crate) wide: Option<Rows<i16>>,
    pub(crate) bytes: Option<Bytes>,
}

/// A map as a convolution reads it.
pub(crate) struct Bytes {
    pub(crate) rows: Rows<u8>,
    pub(crate) reading: Reading,
}

/// Rows to be written, those of each form that there is.
pub(crate) struct Writes<'m> {
    pub(crate) wide: Vec<&'m mut [i16]>,
    pub(crate) bytes: Vec<&'m mut [u8]>,
    pub(crate) reading: Reading,
}

impl Bytes {
    pub(crate) fn new(shape: Shape, frame: (usize, usize), room: usize, reading: Reading) -> Self {
        Self {
            rows: Rows::new(shape, frame, room, reading.zero),
            reading,
        }
    }

    /// Adds rows up to row `until` and gives the first of them.
    pub(crate) fn append_until(&mut self, until: usize) -> (usize, Writes<'_>) {
        let first = self.rows.len();
        let writes = Writes {
            wide: Vec::new(),
            bytes: self.rows.append_until(until),
            reading: self.reading,
        };
        (first, writes)
    }
}

impl Map {
    /// A map of a frame of so many rows and columns of patches, with room for some rows of its own.
    pub(crate) fn new(shape: Shape, frame: (usize, usize), room: usize, forms: Forms) -> Self {
        let bytes = forms.bytes;
        Self {
            wide: (forms.wide).then(|| Rows::new(shape, frame, room, 0)),
            bytes: bytes.map(|reading| Bytes::new(shape, frame, room, reading)),
        }
    }

    /// Bytes that [`Map::new`] takes.
    pub(crate) fn held(shape: Shape, frame: (usize, usize), room: usize, forms: Forms) -> usize {
        let wide = (forms.wide).then(|| Rows::<i16>::bytes(shape, frame, room));
        let bytes = (forms.bytes).map(|_| Rows::<u8>::bytes(shape, frame, room));
        wide.unwrap_or(0) + bytes.unwrap_or(0)
    }

    pub(crate) fn restart(&mut self) {
        self.wide.iter_mut().for_each(Rows::restart);
        self.bytes.iter_mut().for_each(|bytes| bytes.rows.restart());
    }

    /// Rows that have come so far.
    pub(crate) fn len(&self) -> usize {
        let wide = self.wide.as_ref().map(Rows::len);
        let bytes = self.bytes.as_ref().map(|bytes| bytes.rows.len());
        wide.or(bytes).expect("a map has readers")
    }

    /// Adds rows up to row `until` and gives the first of them.
    pub(crate) fn append_until(&mut self, until: usize) -> (usize, Writes<'_>) {
        let first = self.len();
        let wide = self.wide.as_mut().map(|rows| rows.append_until(until));
        let bytes = self.bytes.as_mut();
        let reading = bytes.as_ref().map(|bytes| bytes.reading);
        let bytes = bytes.map(|bytes| bytes.rows.append_until(until));
        let writes = Writes {
            wide: wide.unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
            reading: reading.unwrap_or(Reading { scale: 0, zero: 0 }),
        };
        (first, writes)
    }
}
