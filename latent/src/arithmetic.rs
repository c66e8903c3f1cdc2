//! A binary arithmetic coder: a carryless range coder of 32 bits, as in lpaq (Mahoney, 2007), with probabilities of 16
//! bits.

/// Codes bits into bytes.
#[derive(Debug)]
pub(crate) struct Encoder {
    low: u32,
    high: u32,
    bytes: Vec<u8>,
}

/// Decodes the bits that an [`Encoder`] coded with the same probabilities.
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    low: u32,
    high: u32,
    code: u32,
    /// Bytes that were not read yet.
    rest: &'a [u8],
    /// Bytes that were read behind the end.
    missing: u32,
}

/// Bytes that the decoder is ahead of the encoder.
const AHEAD: u32 = 4;

/// The last of the numbers from `low` to `high` that stand for 1, which has a probability of `one` in 65,536, 1 to
/// 65,535.
fn split(low: u32, high: u32, one: u32) -> u32 {
    low + ((u64::from(high - low) * u64::from(one)) >> 16) as u32
}

/// The numbers that stand for a bit. Without a branch, which would be guessed wrong as often as the bit is.
fn part(low: u32, high: u32, split: u32, bit: u8) -> (u32, u32) {
    let one = 0u32.wrapping_sub(bit.into());
    let low = low & one | (split + 1) & !one;
    (low, split & one | high & !one)
}

impl Encoder {
    pub(crate) fn new() -> Self {
        Self {
            low: 0,
            high: u32::MAX,
            bytes: Vec::new(),
        }
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn encode(&mut self, one: u32, bit: u8) {
        let split = split(self.low, self.high, one);
        (self.low, self.high) = part(self.low, self.high, split, bit);
        while (self.low ^ self.high) >> 24 == 0 {
            self.bytes.push((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
    }

    /// The bytes. The decoder reads zeros behind the end, so of the last four those at the end are left out.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        // The shortest beginning of a number from `low` to `high`, with zeros behind it.
        let shortest = (0..4).map(|kept| self.high & !(u32::MAX >> (8 * kept)));
        let number = shortest.into_iter().find(|number| *number >= self.low);
        let number = number.unwrap_or(self.high).to_be_bytes();
        let zeros = number.iter().rev().take_while(|byte| **byte == 0).count();
        self.bytes.extend_from_slice(&number[..4 - zeros]);
        self.bytes
    }
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            low: 0,
            high: u32::MAX,
            code: 0,
            rest: bytes,
            missing: 0,
        };
        for _ in 0..AHEAD {
            decoder.read();
        }
        decoder
    }

    pub(crate) fn decode(&mut self, one: u32) -> u8 {
        let split = split(self.low, self.high, one);
        let bit = u8::from(self.code <= split);
        (self.low, self.high) = part(self.low, self.high, split, bit);
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
            self.read();
        }
        bit
    }

    fn read(&mut self) {
        let (byte, rest) = match self.rest.split_first() {
            Some((&byte, rest)) => (byte, rest),
            None => {
                self.missing = self.missing.saturating_add(1);
                (0, self.rest)
            }
        };
        self.rest = rest;
        self.code = self.code << 8 | u32::from(byte);
    }

    /// Whether more was read than an encoder leaves out.
    pub(crate) fn ran_out(&self) -> bool {
        self.missing > AHEAD
    }

    /// Whether bytes are left.
    pub(crate) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }
}
