//! Where the sums of a layer go: codes for the next one, or results.

use kernels::{Words, Work};

use crate::banks::Panel;
use crate::reference::quantize;
use crate::rows::{Row, Sink, Sum, codes};

/// Where the results of a batch go, patch after patch.
pub(crate) enum Target<'a> {
    /// Packed latent bits, zero before.
    Bits(&'a mut [u8]),
    /// One logit a label.
    Logits(&'a mut [i32]),
}

impl Target<'_> {
    /// Outputs of the batch.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bits(bits) => 8 * bits.len(),
            Self::Logits(logits) => logits.len(),
        }
    }

    #[inline(always)]
    pub(crate) fn put(&mut self, index: usize, sum: i32) {
        match self {
            Self::Logits(logits) => logits[index] = sum,
            Self::Bits(bits) => bits[index / 8] |= u8::from(sum >= 0) << (index % 8),
        }
    }
}

/// Codes of windows to the pixels of maps.
pub(crate) struct WindowCodes<'a, 'b> {
    pub(crate) panel: Panel<'a>,
    pub(crate) bytes: &'b mut [u8],
    pub(crate) places: &'b [usize],
    pub(crate) shift: u32,
}

impl Work for WindowCodes<'_, '_> {
    #[inline(always)]
    fn run<W: Words>(self) {
        for (window, sums) in self.panel.windows() {
            let pixel = &mut self.bytes[self.places[window] + self.panel.kernel..];
            let pixel = &mut pixel[..self.panel.kernels];
            let (whole, rest) = pixel.as_chunks_mut();
            let (sums, last) = sums.split_at(whole.len());
            for (codes, sums) in whole.iter_mut().zip(sums) {
                *codes = sums.0.map(|sum| quantize(sum, self.shift));
            }
            if let Some(sums) = last.first() {
                for (code, &sum) in rest.iter_mut().zip(&sums.0) {
                    *code = quantize(sum, self.shift);
                }
            }
        }
    }
}

/// Codes to rows.
pub(crate) struct CodeRows<'a> {
    pub(crate) rows: &'a mut [Row<u8>],
    pub(crate) shift: u32,
}

impl Sink for CodeRows<'_> {
    #[inline(always)]
    fn row<T: Sum>(&mut self, channel: usize, sums: &Row<T>) {
        self.rows[channel] = codes(sums, self.shift);
    }
}

/// Codes to the pixels of maps.
pub(crate) struct CodeMaps<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) places: &'a [usize],
    pub(crate) shift: u32,
}

impl Sink for CodeMaps<'_> {
    #[inline(always)]
    fn row<T: Sum>(&mut self, channel: usize, sums: &Row<T>) {
        for (&place, code) in self.places.iter().zip(codes(sums, self.shift)) {
            self.bytes[place + channel] = code;
        }
    }
}

/// The last layer's sums to where results go.
pub(crate) struct Results<'a, 'b> {
    pub(crate) target: &'a mut Target<'b>,
    pub(crate) channels: usize,
    /// First window of the batch that these rows hold, and their number.
    pub(crate) first: usize,
    pub(crate) count: usize,
    /// Bits of each window, until there are eight.
    pub(crate) bytes: Row<u8>,
}

impl Sink for Results<'_, '_> {
    #[inline(always)]
    fn row<T: Sum>(&mut self, channel: usize, sums: &Row<T>) {
        match &mut *self.target {
            Target::Bits(bits) if self.channels.is_multiple_of(8) => {
                for (byte, &sum) in self.bytes.iter_mut().zip(sums) {
                    *byte = *byte >> 1 | u8::from(sum.into() >= 0) << 7;
                }
                if channel % 8 == 7 {
                    let step = self.channels / 8;
                    let start = self.first * step + channel / 8;
                    let places = bits[start..].iter_mut().step_by(step);
                    for (place, &byte) in places.zip(&self.bytes[..self.count]) {
                        *place = byte;
                    }
                }
            }
            target => {
                let windows = self.first..self.first + self.count;
                for (window, &sum) in windows.zip(sums) {
                    target.put(window * self.channels + channel, sum.into());
                }
            }
        }
    }
}
